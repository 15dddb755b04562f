#!/usr/bin/env bash
# Refresh the browser files that the rendered book carries, so that it needs no network:
#   tools/vendor_assets.sh            writes _theme/vendor and tests/vendor
# Needs npm, perl and, once, the network. Nothing stays installed. The files are committed; the
# tests compare them with SHA256SUMS beside them.
set -euo pipefail

MATHJAX=mathjax@3.2.2             # formulas; MathJax 4 needs a font package from elsewhere
MERMAID=mermaid@11.17.2           # diagrams
KINDS='flowDiagram|dagre|sequenceDiagram|stateDiagram-v2' # of these kinds: a third of the size
ESBUILD=esbuild@0.25.0            # puts the parts of mermaid into one plain script
AXE=axe-core@4.14.1               # accessibility rules, for the tests only

root=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

fetch() { # NAME@VERSION: unpack the archive into ./package
    rm -rf package ./*.tgz
    npm pack --silent "$1" >/dev/null
    tar -xzf ./*.tgz
}

sums() { # FOLDER: list the hash of every file in it
    (cd "$1" && find . -type f ! -name SHA256SUMS -print0 | LC_ALL=C sort -z |
        xargs -0 sha256sum >SHA256SUMS)
}

book=$root/_theme/vendor
rm -rf "$book"
fetch "$MATHJAX"
install -D -m 644 package/es5/tex-chtml-full.js "$book/mathjax/tex-chtml-full.js"
mkdir -p "$book/mathjax/output/chtml/fonts"
cp -r package/es5/output/chtml/fonts/woff-v2 "$book/mathjax/output/chtml/fonts/"
install -m 644 package/LICENSE "$book/mathjax/LICENSE"
fetch "$MERMAID"
npm install --silent --no-audit --no-fund --prefix tool "$ESBUILD"
cd package/dist
KINDS=$KINDS perl -pi -e 's{import\("(\./[^"]*)"\)}{
    my $part = $1;
    $part =~ m/$ENV{KINDS}/ ? qq(import("$part")) : qq(Promise.reject(new Error("$part is left out")))
}gex' mermaid.esm.min.mjs chunks/mermaid.esm.min/*.mjs
echo 'import mermaid from "./mermaid.esm.min.mjs"; window.mermaid = mermaid;' >entry.mjs
"$scratch/tool/node_modules/.bin/esbuild" entry.mjs --bundle --minify --format=iife \
    --target=es2020 --legal-comments=eof --log-level=error --outfile=mermaid.js
cd "$scratch"
install -D -m 644 package/dist/mermaid.js "$book/mermaid/mermaid.js"
install -m 644 package/LICENSE "$book/mermaid/LICENSE"
sums "$book"

tests=$root/tests/vendor
rm -rf "$tests"
fetch "$AXE"
install -D -m 644 package/axe.min.js "$tests/axe.min.js"
install -m 644 package/LICENSE "$tests/LICENSE-axe"
sums "$tests"

du -sh "$book" "$tests"
