/** Comma-separated values after RFC 4180: splits one record's text into fields. */
import { BadInputError } from "../errors.ts";

/**
 * Fields of one record. A field in double quotes may hold separators, line ends and doubled quotes;
 * a quote inside an unquoted field stands for itself.
 *
 * The standard library's parser gives no byte offsets, which reading rows by offset needs.
 *
 * @param place file and line for messages
 * @throws {BadInputError} for an unclosed quote, or text after a closing one
 */
export function parseCsvRecord(text: string, separator: string, place: string): string[] {
  const fields: string[] = [];
  let i = 0;
  while (true) {
    if (text[i] === '"') {
      const end = closingQuote(text, i + 1);
      if (end < 0) throw new BadInputError(`${place}: a quote is never closed`);
      if (end + 1 < text.length && text[end + 1] !== separator) {
        throw new BadInputError(
          `${place}: after a closing quote comes "${separator}" or the end of the line: ` +
            `current value is ${JSON.stringify(text.slice(end + 1, end + 11))}`,
        );
      }
      fields.push(text.slice(i + 1, end).replaceAll('""', '"'));
      i = end + 1;
    } else {
      const end = text.indexOf(separator, i);
      fields.push(end < 0 ? text.slice(i) : text.slice(i, end));
      i = end < 0 ? text.length : end;
    }
    if (i >= text.length) return fields;
    i += separator.length;
  }
}

/** The quote that ends a field whose text begins at `from`, doubled ones skipped; -1 for none. */
function closingQuote(text: string, from: number): number {
  for (let i = text.indexOf('"', from); i >= 0; i = text.indexOf('"', i + 2)) {
    if (text[i + 1] !== '"') return i;
  }
  return -1;
}

/** The separator of a header line: the first comma, semicolon or tab in it. */
export function separatorOf(header: string): string {
  return /[,;\t]/.exec(header.replaceAll(/"[^"]*"/g, ""))?.[0] ?? ",";
}
