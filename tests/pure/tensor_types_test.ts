// The types are those of a file's tensors: what cannot be done with one is the file's fault.
import { assertThrows } from "@std/assert";
import { BadInputError } from "../../src/errors.ts";
import { codeRange } from "../../src/graph/codes.ts";
import { bitsOf } from "../../src/graph/dtype.ts";
import { float32, int64, toBigInts, toNumbers } from "../../src/graph/tensor.ts";
import { inTokenType } from "../../src/graph/token_types.ts";
import { codeTensor, floatTensor, roundToFloat } from "../../src/quant/numbers.ts";

const CASES: Readonly<Record<string, () => unknown>> = {
  "bitsOf() refuses strings": () => bitsOf("string"),
  "toNumbers() refuses strings": () => toNumbers({ ...int64([0], []), dtype: "string" }),
  "toBigInts() refuses floats": () => toBigInts(float32([1], [1])),
  "inTokenType() refuses a type that no tokens have": () => inTokenType(int64([1], [1]), "int8"),
  "codeRange() refuses floats": () => codeRange("float32"),
  "roundToFloat() refuses integers": () => roundToFloat("int8", 1),
  "floatTensor() refuses integers": () => floatTensor("int32", [1], [1]),
  "codeTensor() refuses a type that no codes have": () => codeTensor("bool", [1], [1]),
};

for (const [title, work] of Object.entries(CASES)) {
  Deno.test(`${title} with a typed error`, () => void assertThrows(work, BadInputError));
}
