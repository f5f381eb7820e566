package cli

// bashCompletion is our own script and not cobra's, which needs the bash-completion package (absent from macOS and
// many servers), takes "user@host" for three words, and evaluates what stands on the line, so that a
// press of the tab key runs what is in $(...). This one needs bash 3.2 and nothing else.
const bashCompletion = `# bash completion for warp-cli                              -*- shell-script -*-

_warp_cli() {
    # The words before the cursor, parted by blanks and not by COMP_WORDBREAKS: user@host and key=value are one. Quotes
    # are taken away; nothing is expanded or run.
    local line=${COMP_LINE:0:COMP_POINT} words=() word= quote= open= c i
    for ((i = 0; i < ${#line}; i++)); do
        c=${line:i:1}
        if [[ $c == \\ && $quote != "'" ]]; then
            i=$((i + 1)) word+=${line:i:1} open=1
        elif [[ -n $quote && $c == "$quote" ]]; then
            quote=
        elif [[ -z $quote && ($c == "'" || $c == '"') ]]; then
            quote=$c open=1
        elif [[ -z $quote && ($c == ' ' || $c == $'\t') ]]; then
            [[ -n $open ]] && words+=("$word")
            word= open=
        else
            word+=$c open=1
        fi
    done
    [[ ${#words[@]} -gt 0 ]] || return

    local program=${words[0]/#\~/$HOME} out directive
    out=$("$program" __complete "${words[@]:1}" "$word" 2>/dev/null) || return
    directive=${out##*:}
    [[ $directive =~ ^[0-9]+$ ]] || return
    out=${out%:*}

    # readline replaces only what follows the last of COMP_WORDBREAKS.
    local kept=${word%"${word##*[$COMP_WORDBREAKS]}"} value text
    COMPREPLY=()
    while IFS= read -r text; do
        value=${text%%$'\t'*}
        [[ -n $value ]] || continue
        if [[ $COMP_TYPE == 63 && $text == *$'\t'* ]]; then
            # The list after a second press says what each is.
            COMPREPLY+=("${value#"$kept"}  (${text#*$'\t'})")
            continue
        fi
        value=${value#"$kept"}
        if [[ $value == *[!A-Za-z0-9_./:=@,+%-]* ]]; then
            # A tag may hold anything printable, and must stay text between quotes that stand already.
            case $quote in
            '') printf -v value %q "$value" ;;
            "'") [[ $value != *"'"* ]] || continue ;;
            *) [[ $value != *[\!\\\"\$$'\x60']* ]] || continue ;;
            esac
        fi
        COMPREPLY+=("$value")
    done <<<"$out"

    if type compopt >/dev/null 2>&1; then
        if ((directive & 2)); then compopt -o nospace; fi
        if ((!(directive & 4) && ${#COMPREPLY[@]} == 0)); then compopt -o default; fi
    fi
}

complete -F _warp_cli warp-cli
`
