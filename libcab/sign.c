/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sign.c - Ed25519 signatures of artifacts (RFC 8032), by OpenSSL's libcrypto.
 */
#include "libcab/libcab_int.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

/* cab_codegen_options.sign; user: the 32 bytes of the private key. */
int cab_sign_ed25519(void *user, const void *message, size_t n, uint8_t public_key[32],
                     uint8_t signature[64])
{
    size_t n_key = 32, n_sig = 64;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, user, 32);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = key && ctx && EVP_PKEY_get_raw_public_key(key, public_key, &n_key) == 1 &&
              EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
              EVP_DigestSign(ctx, signature, &n_sig, message, n) == 1 && n_sig == 64;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return ok ? CAB_OK : CAB_EINVAL;
}

int cab_check_signature(void *user, const uint8_t public_key[32], const uint8_t signature[64],
                        const void *message, size_t n)
{
    if (user && memcmp(user, public_key, 32))
        return CAB_EINVAL;
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, 32);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = key && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
              EVP_DigestVerify(ctx, signature, 64, message, n) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return ok ? CAB_OK : CAB_EINVAL;
}

/* An empty passphrase: the library never asks at a terminal. */
static int no_passphrase(char *buf, int n, int writing, void *user)
{
    (void)buf, (void)n, (void)writing, (void)user;
    return 0;
}

cab_status cab_sign_key_read(const char *path, bool is_public, uint8_t out[32], cab_diag *d)
{
    size_t n = 32;
    FILE *f = fopen(path, "re");
    EVP_PKEY *key = !f ? NULL : is_public ? PEM_read_PUBKEY(f, NULL, no_passphrase, NULL)
                                          : PEM_read_PrivateKey(f, NULL, no_passphrase, NULL);
    bool ok = key && EVP_PKEY_id(key) == EVP_PKEY_ED25519 &&
              (is_public ? EVP_PKEY_get_raw_public_key(key, out, &n)
                         : EVP_PKEY_get_raw_private_key(key, out, &n)) == 1 && n == 32;
    EVP_PKEY_free(key);
    if (f)
        fclose(f);
    if (ok)
        return CAB_OK;
    cab_fail(d, CAB_EINVAL, NULL, "%s holds no Ed25519 %s key in PEM form", path,
             is_public ? "public" : "private");
    cab_note(d, is_public ? "openssl pkey -in key.pem -pubout -out key.pub makes one"
                          : "openssl genpkey -algorithm ed25519 -out key.pem makes one");
    return CAB_EINVAL;
}
