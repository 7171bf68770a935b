/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls.c - certificates, ALPN, client certificates; read again on request.
 */
#include "serve/http/server.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>

struct cab_tls {
    char *cert, *key, *client_ca;
    pthread_mutex_t lock;
    SSL_CTX *ctx;
};

/* h2 before http/1.1, whatever the client's order. */
static int choose(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in,
                  unsigned n, void *arg)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    unsigned char *chosen;
    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_n, ours, sizeof ours - 1, in, n) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static cab_status tell(cab_diag *d, const char *what, const char *file)
{
    char why[200];
    ERR_error_string_n(ERR_get_error(), why, sizeof why);
    ERR_clear_error();
    return cab_fail(d, CAB_EINVAL, &(cab_where){ .file = file }, "TLS: cannot use %s: %s", what, why);
}

static cab_status fill(const cab_tls *t, SSL_CTX *ctx, cab_diag *d)
{
    static const unsigned char ours[] = "cabochon";
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(ctx, choose, NULL);
    if (SSL_CTX_use_certificate_chain_file(ctx, t->cert) != 1)
        return tell(d, "the certificate", t->cert);
    if (SSL_CTX_use_PrivateKey_file(ctx, t->key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1)
        return tell(d, "the private key", t->key);
    if (!t->client_ca)
        return CAB_OK;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(t->client_ca);
    if (!names || SSL_CTX_load_verify_file(ctx, t->client_ca) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return tell(d, "the client authorities", t->client_ca);
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_session_id_context(ctx, ours, sizeof ours - 1);        /* else a session taken up again is an error */
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return CAB_OK;
}

cab_status cab_tls_reload(cab_tls *t, cab_diag *d)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx)
        return cab_fail(d, CAB_ENOMEM, NULL, "TLS: out of memory");
    cab_status s = fill(t, ctx, d);
    if (s == CAB_OK) {
        pthread_mutex_lock(&t->lock);
        SSL_CTX *old = t->ctx;
        t->ctx = ctx;
        ctx = old;
        pthread_mutex_unlock(&t->lock);
    }
    SSL_CTX_free(ctx);                 /* sessions hold theirs */
    return s;
}

cab_status cab_tls_create(const char *cert, const char *key, const char *client_ca, cab_tls **out, cab_diag *d)
{
    cab_tls *t = calloc(1, sizeof *t);
    *out = NULL;
    if (!t)
        return cab_fail(d, CAB_ENOMEM, NULL, "TLS: out of memory");
    pthread_mutex_init(&t->lock, NULL);
    t->cert = strdup(cert);
    t->key = strdup(key);
    t->client_ca = client_ca ? strdup(client_ca) : NULL;
    cab_status s = t->cert && t->key && (t->client_ca || !client_ca)
                       ? cab_tls_reload(t, d) : cab_fail(d, CAB_ENOMEM, NULL, "TLS: out of memory");
    if (s != CAB_OK) {
        cab_tls_destroy(t);
        return s;
    }
    *out = t;
    return CAB_OK;
}

void cab_tls_destroy(cab_tls *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx);
    pthread_mutex_destroy(&t->lock);
    free(t->cert);
    free(t->key);
    free(t->client_ca);
    free(t);
}

SSL *cab_tls_session(cab_tls *t)
{
    pthread_mutex_lock(&t->lock);
    SSL *ssl = SSL_new(t->ctx);
    pthread_mutex_unlock(&t->lock);
    return ssl;
}
