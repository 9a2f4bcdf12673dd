/** Escapes text from files for a terminal. */

/**
 * Control characters other than line feeds and tabs (C0, DEL, C1) and those that change the direction of
 * text: they move cursors, set titles and hide other text.
 */
// deno-lint-ignore no-control-regex
const CONTROLS = /[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;

/** graft's own styles, see `paint()`. */
// deno-lint-ignore no-control-regex
const STYLES = /(\x1b\[(?:0|1|2|31|32|33)m)/;

/**
 * Replaces such characters by escapes like `\u001b`: names of tensors, operators and files come from
 * untrusted files. JSON stays the same JSON.
 *
 * @param styled whether to keep graft's own styles
 */
export function printable(text: string, styled = false): string {
  if (styled) return text.split(STYLES).map((part, i) => i % 2 ? part : printable(part)).join("");
  return text.replace(CONTROLS, (char) => {
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
