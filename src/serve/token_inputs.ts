/** Values of a language model's token inputs. */
import { BadInputError } from "../errors.ts";
import type { DataType } from "../graph/dtype.ts";
import { int64, type Tensor } from "../graph/tensor.ts";
import { inTokenType } from "../graph/token_types.ts";

/**
 * The value of an input for tokens that follow others, all of them real.
 *
 * @param fresh token ids to read
 * @param start number of tokens read before
 * @param dtype the input's type
 * @throws {BadInputError} for an input that graft does not know
 */
export function tokenInput(
  name: string,
  fresh: readonly number[],
  start: number,
  dtype: DataType,
): Tensor {
  return inTokenType(tokenNumbers(name, fresh, start), dtype);
}

/** As int64. */
function tokenNumbers(name: string, fresh: readonly number[], start: number): Tensor {
  const total = start + fresh.length;
  switch (name) {
    case "input_ids":
      return int64([1, fresh.length], fresh);
    case "attention_mask":
      return int64([1, total], new Uint8Array(total).fill(1));
    case "position_ids":
      return int64([1, fresh.length], fresh.map((_, i) => start + i));
    case "token_type_ids":
      return int64([1, fresh.length], new Uint8Array(fresh.length));
    default:
      throw new BadInputError(
        `Cannot generate: the model has an input "${name}" that graft does not know`,
      );
  }
}
