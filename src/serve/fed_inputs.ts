/**
 * Token inputs of a run, each in its own memory that stays bound: a run whose inputs have the shapes of
 * the last one only writes a few numbers, without a call into the runtime.
 */
import { byteLength, type DataType } from "../graph/dtype.ts";
import { elementCount, type Tensor } from "../graph/tensor.ts";
import { TARGET_ROWS } from "../plan/select_rows.ts";
import type { DeviceTensor, Runner } from "../runtime/runner.ts";
import { FILLED_LENGTH, TOTAL_LENGTH_INPUT } from "./length_inputs.ts";

/** Supported inputs, and their types. */
export const FED: ReadonlyMap<string, DataType> = new Map([
  ["input_ids", "int64"],
  ["attention_mask", "int64"],
  ["position_ids", "int64"],
  ["token_type_ids", "int64"],
  [TARGET_ROWS, "int64"],
  [FILLED_LENGTH, "int32"],
  [TOTAL_LENGTH_INPUT, "int32"],
]);

/** Numbers that are allocated beyond the requested ones. */
const ROOM = 128;

/** Tokens of a text that a run reads. */
export interface FreshTokens {
  /** Token ids, at least one. */
  readonly fresh: readonly number[];
  /** Number of tokens of the text that were read before. */
  readonly start: number;
}

interface Fed {
  readonly memory: BigInt64Array<ArrayBuffer>;
  readonly dims: readonly number[];
}

export class FedInputs implements Disposable {
  readonly #share: (value: Tensor) => DeviceTensor;
  readonly #names: readonly string[];
  readonly #fed = new Map<string, Fed>();
  readonly #tensors = new Map<string, DeviceTensor>();

  /** @param names of {@linkcode FED} */
  constructor(runner: Runner, names: readonly string[]) {
    this.#share = (value) => runner.share(value);
    this.#names = names;
  }

  /** Every input's tensor, as last written. */
  get tensors(): ReadonlyMap<string, DeviceTensor> {
    return this.#tensors;
  }

  /**
   * Writes every input's value.
   *
   * @param texts one text a row, each with as many fresh tokens
   * @param maskLength columns of the mask, zeros behind a text's tokens; at least as many as it has
   * @returns names of the inputs whose tensor changed
   */
  write(texts: readonly FreshTokens[], maskLength: number): string[] {
    const rows = texts.length;
    const count = texts[0].fresh.length;
    const changed: string[] = [];
    const place = (name: string, dims: readonly number[]) => this.#place(name, dims, changed);
    for (const name of this.#names) {
      switch (name) {
        case "input_ids": {
          const ids = place(name, [rows, count]);
          texts.forEach(({ fresh }, row) => {
            for (let i = 0; i < count; i++) ids[row * count + i] = BigInt(fresh[i]);
          });
          break;
        }
        case "position_ids": {
          const positions = place(name, [rows, count]);
          texts.forEach(({ start }, row) => {
            for (let i = 0; i < count; i++) positions[row * count + i] = BigInt(start + i);
          });
          break;
        }
        case TARGET_ROWS: {
          const lastOfEach = place(name, [rows]);
          for (let row = 0; row < rows; row++) lastOfEach[row] = BigInt((row + 1) * count - 1);
          break;
        }
        case "attention_mask": {
          const mask = place(name, [rows, maskLength]);
          texts.forEach(({ start }, row) => {
            const from = row * maskLength;
            mask.fill(1n, from, from + start + count);
            mask.fill(0n, from + start + count, from + maskLength);
          });
          break;
        }
        // 32-bit numbers are stored at the beginning of memory for 64-bit ones; there is one text.
        case FILLED_LENGTH:
          place(name, [1])[0] = BigInt(texts[0].start + count - 1);
          break;
        case TOTAL_LENGTH_INPUT:
          place(name, [])[0] = BigInt(texts[0].start + count);
          break;
        default: // token types are all 0, like new memory
          place(name, [rows, count]);
      }
    }
    return changed;
  }

  [Symbol.dispose](): void {
    for (const tensor of this.#tensors.values()) tensor[Symbol.dispose]();
    this.#tensors.clear();
    this.#fed.clear();
  }

  /** An input's memory; its tensor gets these dimensions. */
  #place(name: string, dims: readonly number[], changed: string[]): BigInt64Array<ArrayBuffer> {
    const old = this.#fed.get(name);
    if (old !== undefined && old.dims.every((size, i) => size === dims[i])) return old.memory;
    const count = elementCount(dims);
    let memory = old?.memory;
    if (memory === undefined || memory.length < count) memory = new BigInt64Array(count + ROOM);
    const dtype = FED.get(name)!;
    const bytes = new Uint8Array(memory.buffer, 0, byteLength(dtype, count));
    this.#tensors.get(name)?.[Symbol.dispose]();
    this.#tensors.set(name, this.#share({ dtype, dims, bytes }));
    this.#fed.set(name, { memory, dims });
    changed.push(name);
    return memory;
  }
}
