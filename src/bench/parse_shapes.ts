/** Shapes of batches as the command line has them. */
import { ParameterError } from "../errors.ts";
import type { ForwardShape } from "./forward_times.ts";

/** Most tokens of a shape: their activations would not fit any device that graft is made for. */
const MOST_TOKENS = 1 << 20;

/**
 * Reads shapes such as `16x256`.
 *
 * @throws {ParameterError} for anything else, and for shapes of more than 2²⁰ tokens
 */
export function parseShapes(texts: readonly string[]): readonly ForwardShape[] {
  if (texts.length === 0) {
    throw new ParameterError(
      "shapes",
      (name) => `${name("shapes")} must name a shape, such as 1x128`,
    );
  }
  return texts.map((text) => {
    const [, batch, length] = /^(\d{1,7})[x×](\d{1,7})$/.exec(text) ?? [];
    const shape = { batch: Number(batch), length: Number(length) };
    const tokens = shape.batch * shape.length;
    if (tokens >= 1 && tokens <= MOST_TOKENS) return shape;
    throw new ParameterError(
      "shapes",
      (name) =>
        `${
          name("shapes")
        } must be sequences × tokens, such as 16x256, of at most ${MOST_TOKENS} tokens: ` +
        `current value is "${text}"`,
    );
  });
}
