/** Completion scripts for shells, generated from the verbs' flags. */
import { type PlacedVerb, type Spelling, spellingOf } from "../verb_tree.ts";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = typeof SHELLS[number];

/** A flag with the data that the scripts need. */
interface Completed extends Spelling {
  readonly about: string;
}

function flagsOf({ command }: PlacedVerb): Completed[] {
  const flags = Object.entries(command.flags)
    .map(([key, flag]) => ({ ...spellingOf(key, flag), about: flag.description }));
  return [...flags, { long: ["--help"], short: "-h", about: "Explain this verb" }];
}

const namesOf = ({ long, short }: Spelling) => short === undefined ? long : [short, ...long];

/** Second words of a verb. */
function secondWords(verbs: readonly PlacedVerb[], first: string): PlacedVerb[] {
  return verbs.filter(({ words }) => words.length === 2 && words[0] === first);
}

const firstWords = (verbs: readonly PlacedVerb[]) =>
  verbs.filter(({ words }) => words.length === 1);

/** The script of a shell. */
export function completionScript(shell: Shell, verbs: readonly PlacedVerb[]): string {
  return { bash, zsh, fish }[shell](verbs);
}

function bash(verbs: readonly PlacedVerb[]): string {
  const cases = verbs.map((verb) => {
    const flags = flagsOf(verb);
    const second = verb.words.length === 1 ? secondWords(verbs, verb.words[0]) : [];
    const words = [
      ...flags.flatMap(namesOf),
      ...second.map(({ words }) => words[1]),
      ...verb.command.choices ?? [],
    ];
    const values = flags.flatMap((flag) =>
      flag.value === undefined
        ? []
        : [`        ${namesOf(flag).join("|")}) ${bashValue(flag.value)} ;;`]
    );
    return [
      `    "${verb.words.join(" ")}")`,
      `      words="${words.join(" ")}"`,
      ...(values.length === 0 ? [] : ['      case "$before" in', ...values, "      esac"]),
      "      ;;",
    ].join("\n");
  });
  const pairs = verbs.filter(({ words }) => words.length === 2)
    .map(({ words }) => `"${words.join(" ")}"`);
  return `# bash completion of graft, for ~/.local/share/bash-completion/completions/graft
_graft() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} words=
  # --flag=value comes as three words.
  if [[ $word == "=" ]]; then
    word=
  elif [[ $before == "=" ]]; then
    before=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  COMPREPLY=()
  if ((COMP_CWORD == 1)) || [[ \${COMP_WORDS[1]} == help && $COMP_CWORD == 2 ]]; then
    words="${firstWords(verbs).map(({ words }) => words[0]).join(" ")} help --help --version"
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    return
  fi
  local verb=\${COMP_WORDS[1]}
${
    pairs.length === 0 ? "" : `  case "\${COMP_WORDS[1]} \${COMP_WORDS[2]}" in
    ${pairs.join(" | ")}) ((COMP_CWORD > 2)) && verb="\${COMP_WORDS[1]} \${COMP_WORDS[2]}" ;;
  esac
`
  }  case "$verb" in
${cases.join("\n")}
  esac
  # Without a match bash completes the names of files.
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _graft graft
`;
}

function bashValue(value: NonNullable<Spelling["value"]>): string {
  if (value === "file") return "return";
  // Other values are unknown; offering a flag's name would be wrong.
  if (value === "text") return "compopt +o default; return";
  return `COMPREPLY=($(compgen -W "${value.join(" ")}" -- "$word")); return`;
}

/** Escapes a text for single quotes in any of the shells. */
const quoted = (text: string) => text.replaceAll("'", "'\\''");

function zsh(verbs: readonly PlacedVerb[]): string {
  const spec = ({ long, short, value, about }: Completed): string => {
    const names = short === undefined ? long : [short, ...long];
    const text = quoted(about.replace(/[[\]:\\]/g, "\\$&"));
    const action = value === undefined
      ? ""
      : value === "file"
      ? ":file:_files"
      : value === "text"
      ? ":value: "
      : `:value:(${value.join(" ")})`;
    return names.map((name) => `'*${name}[${text}]${action}'`).join(" ");
  };
  const described = (list: readonly PlacedVerb[]) =>
    list.map(({ words, command }) =>
      `'${words.at(-1)}:${quoted(command.summary.replaceAll(":", "\\:"))}'`
    ).join(" ");
  const argumentsOf = (verb: PlacedVerb) => {
    const { choices } = verb.command;
    const operands = choices === undefined ? "'*:file:_files'" : `':value:(${choices.join(" ")})'`;
    return `_arguments ${flagsOf(verb).map(spec).join(" ")} ${operands}`;
  };
  const cases = firstWords(verbs).map((verb) => {
    const [name] = verb.words;
    const own = argumentsOf(verb);
    const second = secondWords(verbs, name);
    if (second.length === 0) return `    ${name}) ${own} ;;`;
    const inner = second.map((verb) =>
      `        ${verb.words[1]}) shift words; ((CURRENT--)); ${argumentsOf(verb)} ;;`
    );
    return `    ${name})
      if ((CURRENT == 2)); then
        list=(${described(second)}); _describe verb list
        return
      fi
      case $words[2] in
${inner.join("\n")}
        *) ${own} ;;
      esac
      ;;`;
  });
  return `#compdef graft
# zsh completion of graft: a file _graft in a folder of $fpath
_graft() {
  local -a list
  if ((CURRENT == 2)) || [[ $words[2] == help && $CURRENT == 3 ]]; then
    list=(${described(firstWords(verbs))} 'help:Explain a verb')
    _describe verb list
    return
  fi
  shift words
  ((CURRENT--))
  case $words[1] in
${cases.join("\n")}
  esac
}
if [[ $funcstack[1] == _graft ]]; then _graft "$@"; else compdef _graft graft; fi
`;
}

function fish(verbs: readonly PlacedVerb[]): string {
  const lines = firstWords(verbs).map(({ words, command }) =>
    `complete -c graft -n __graft_first -f -a ${words[0]} -d '${quoted(command.summary)}'`
  );
  for (const verb of verbs) {
    const here = `-n '__graft_at ${verb.words.join(" ")}'`;
    for (const { words, command } of secondWords(verbs, verb.words.join(" "))) {
      lines.push(`complete -c graft ${here} -f -a ${words[1]} -d '${quoted(command.summary)}'`);
    }
    const { choices } = verb.command;
    if (choices !== undefined) {
      lines.push(`complete -c graft ${here} -f -a '${choices.join(" ")}'`);
    }
    for (const { long, short, value, about } of flagsOf(verb)) {
      const names = [
        ...(short === undefined ? [] : [`-s ${short.slice(1)}`]),
        ...long.map((name) => `-l ${name.slice(2)}`),
      ];
      const takes = value === undefined
        ? ""
        : value === "file"
        ? " -r -F"
        : value === "text"
        ? " -x"
        : ` -x -a '${value.join(" ")}'`;
      lines.push(`complete -c graft ${here} ${names.join(" ")}${takes} -d '${quoted(about)}'`);
    }
  }
  return `# fish completion of graft, for ~/.config/fish/completions/graft.fish
function __graft_first
    set -l words (commandline -opc)
    test (count $words) -eq 1; or begin
        test (count $words) -eq 2; and test "$words[2]" = help
    end
end
function __graft_at --argument-names first second
    set -l words (commandline -opc) '' ''
    test "$words[2]" = "$first"; or return 1
    test -z "$second"; or test "$words[3]" = "$second"
end
complete -c graft -n __graft_first -f -a help -d 'Explain a verb'
${lines.join("\n")}
`;
}
