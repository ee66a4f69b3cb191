# shellcheck shell=bash
# shellcheck disable=SC2154 # scripts/dist, which sources this, sets `dist` and `cross_run`.
# The files that the archive and the .deb have in common, below a prefix such as /usr or /usr/local.

dist_tree() { # PREFIX PROGRAM
    local share=$1/share
    install -D --mode 755 "$2" "$1/bin/cgrun"
    mkdir -p "$share"/{man/man1,bash-completion/completions,zsh/site-functions,fish/vendor_completions.d} \
        "$share/doc/cgrun/docs/examples"
    "${cross_run[@]}" "$2" man >"$share/man/man1/cgrun.1"
    "${cross_run[@]}" "$2" completions bash >"$share/bash-completion/completions/cgrun"
    "${cross_run[@]}" "$2" completions zsh >"$share/zsh/site-functions/_cgrun"
    "${cross_run[@]}" "$2" completions fish >"$share/fish/vendor_completions.d/cgrun.fish"
    cp LICENSE README.md CHANGELOG.md SECURITY.md ARCHITECTURE.md CONTRIBUTING.md "$share/doc/cgrun/"
    cp docs/*.md "$share/doc/cgrun/docs/"
    cp -R docs/fleet "$share/doc/cgrun/docs/"
    cp -R docs/examples/{ci,fleet} "$share/doc/cgrun/docs/examples/"
    [[ ${has_licences-} ]] || licences
    cp "$dist/THIRD-PARTY-LICENCES.txt" "$share/doc/cgrun/"
    find "$1" -type d -exec chmod 755 {} +
    find "$share" -type f -exec chmod 644 {} +
    find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}
