# SPDX-License-Identifier: Apache-2.0
"""from_triton.py FOLDER URL: registers the ONNX models of a Triton model repository (NAME/config.pbtxt, NAME/1/model.onnx, ...).

What the server does not do (docs/serving.md) it says, and the model is left out.  A token is taken from CAB_TOKEN."""
import json, os, re, sys, urllib.error, urllib.parse, urllib.request

REPEATED = {"input", "output", "dims", "instance_group", "gpus", "preferred_batch_size", "versions", "profile", "batch_input", "batch_output"}


def scalar(token):
    if token[0] in "\"'":
        return bytes(token[1:-1], "utf-8").decode("unicode_escape").encode("latin-1").decode("utf-8")
    if token in ("true", "false"):
        return token == "true"
    return int(token) if re.fullmatch(r"-?\d+", token) else token


def message(tokens):
    """Protobuf's text format, until its brace is closed -> what JSON has for it; tokens: what is left, the next one last."""
    out = {}
    while tokens and tokens[-1] not in "}>":
        name = tokens.pop()
        if tokens[-1] == ":":
            tokens.pop()
        for v in values(tokens):
            if name in REPEATED:
                out.setdefault(name, []).append(v)
            else:
                out[name] = v
        if tokens and tokens[-1] in ",;":
            tokens.pop()
    if tokens:
        tokens.pop()
    return out


def values(tokens):
    token = tokens.pop()
    if token in "{<":
        return [message(tokens)]
    if token != "[":
        return [scalar(token)]
    out = []
    while tokens[-1] != "]":
        out += values(tokens)
        if tokens[-1] == ",":
            tokens.pop()
    tokens.pop()
    return out


def read_config(folder):
    """-> (configuration, policy or None), with the names of classes that stand in files of their own."""
    file = os.path.join(folder, "config.pbtxt")
    if not os.path.exists(file):
        return {}, None
    with open(file) as f:
        found = re.findall(r'#[^\n]*|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|[{}\[\]:,;<>]|[^\s{}\[\]:,;<>"\'#]+', f.read())
    config = message([t for t in reversed(found) if t[0] != "#"])
    for output in config.get("output", []):
        if output.get("label_filename"):
            with open(os.path.join(folder, output.pop("label_filename"))) as f:
                output["labels"] = f.read().splitlines()
    p = config.pop("version_policy", {})
    policy = ({"all": True} if "all" in p else {"specific": p["specific"]["versions"]} if "specific" in p
              else {"latest": p["latest"].get("num_versions", 1)} if "latest" in p else None)
    return config, policy


def post(url, body):
    token = os.environ.get("CAB_TOKEN")
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, {"Authorization": "Bearer " + token} if token else {})) as r:
            return json.load(r)
    except urllib.error.HTTPError as e:
        return json.load(e)


def move(folder, name, url):
    config, policy = read_config(folder)
    model = config.get("default_model_filename") or "model.onnx"
    for version in sorted((v for v in os.listdir(folder) if v.isdigit()), key=int):
        file = os.path.join(folder, version, model)
        if not os.path.exists(file):
            print("%s version %s: there is no %s" % (name, version, model))
            return 1
        with open(file, "rb") as f:
            query = urllib.parse.urlencode({"name": name, "version": version, "config": json.dumps(config)})
            v = post("%s/register?%s" % (url, query), f.read())
        print("%s version %s: %s" % (name, version, v.get("state") or v.get("error")))
        if "error" in v:
            return 1
    return 1 if policy and "error" in post("%s/v2/models/%s/policy" % (url, name), json.dumps(policy).encode()) else 0


def main(root, url):
    return max([move(os.path.join(root, name), name, url) for name in sorted(os.listdir(root))
                if os.path.isdir(os.path.join(root, name))], default=0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
