/** Parses regular expressions of JavaScript into trees, for {@linkcode LinearPattern}. */

export type PatternNode =
  | { readonly kind: "character"; readonly source: string }
  | { readonly kind: "sequence"; readonly items: readonly PatternNode[] }
  | { readonly kind: "choice"; readonly options: readonly PatternNode[] }
  | {
    readonly kind: "repeat";
    readonly item: PatternNode;
    readonly least: number;
    readonly most: number;
  }
  | { readonly kind: "edge"; readonly edge: Edge }
  | { readonly kind: "look"; readonly item: PatternNode; readonly negative: boolean };

/** Positions between characters: beginning, end, word boundary, no word boundary. */
export type Edge = "^" | "$" | "\\b" | "\\B";

const GROUP = /\(\?(?::|=|!|<[A-Za-z_$][\w$]*>)|\((?!\?)/y;
const QUANTIFIER = /(?:[*+?]|\{\d+(?:,\d*)?\})\??/y;
/** One character of the text: a class, an escape, any other character. */
const CHARACTER =
  /\[(?:\\[\s\S]|[^\]\\])*\]|\\(?:x[\dA-Fa-f]{2}|u[\dA-Fa-f]{4}|c[A-Za-z]|0(?!\d)|[^\dkcxu])|[^\\()|]/y;

/**
 * Parses an expression without flags that JavaScript accepts.
 *
 * @throws {SyntaxError} for syntax that cannot be matched in linear time: back references, lookbehind
 */
export function parsePattern(source: string): PatternNode {
  const reader = new Reader(source);
  const node = reader.choice();
  reader.end();
  return node;
}

class Reader {
  #at = 0;

  constructor(readonly source: string) {}

  choice(): PatternNode {
    const options = [this.#sequence()];
    while (this.#take("|")) options.push(this.#sequence());
    return options.length === 1 ? options[0] : { kind: "choice", options };
  }

  end(): void {
    if (this.#at < this.source.length) this.#refuse();
  }

  #sequence(): PatternNode {
    const items: PatternNode[] = [];
    while (this.#at < this.source.length && !"|)".includes(this.source[this.#at])) {
      items.push(this.#repeated(this.#atom()));
    }
    return { kind: "sequence", items };
  }

  #atom(): PatternNode {
    for (const edge of ["^", "$", "\\b", "\\B"] as const) {
      if (this.#take(edge)) return { kind: "edge", edge };
    }
    const group = this.#match(GROUP);
    if (group !== undefined) {
      const item = this.choice();
      if (!this.#take(")")) this.#refuse();
      if (group !== "(?=" && group !== "(?!") return item;
      return { kind: "look", item, negative: group === "(?!" };
    }
    const source = this.#match(CHARACTER) ?? this.#refuse();
    return { kind: "character", source };
  }

  #repeated(item: PatternNode): PatternNode {
    const quantifier = this.#match(QUANTIFIER);
    if (quantifier === undefined) return item;
    const [least, most] = boundsOf(quantifier);
    return { kind: "repeat", item, least, most };
  }

  #take(text: string): boolean {
    if (!this.source.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  #match(expression: RegExp): string | undefined {
    expression.lastIndex = this.#at;
    const text = expression.exec(this.source)?.[0];
    this.#at += text?.length ?? 0;
    return text;
  }

  #refuse(): never {
    const what = this.source.slice(this.#at, this.#at + 10);
    throw new SyntaxError(`"${what}" cannot be matched in bounded time`);
  }
}

function boundsOf(quantifier: string): [number, number] {
  if (quantifier[0] === "*") return [0, Infinity];
  if (quantifier[0] === "+") return [1, Infinity];
  if (quantifier[0] === "?") return [0, 1];
  const [least, most] = quantifier.replace(/[{}?]/g, "").split(",");
  return [
    Number(least),
    most === undefined ? Number(least) : most === "" ? Infinity : Number(most),
  ];
}
