/** Inputs of a run for one token, in tensors at fixed addresses. */
import { int32, int64, type Tensor } from "../graph/tensor.ts";
import { TARGET_ROWS } from "../plan/select_rows.ts";
import type { DeviceTensor, Runner } from "../runtime/runner.ts";
import { FILLED_LENGTH, TOTAL_LENGTH_INPUT } from "./length_inputs.ts";

export class OneTokenInputs implements Disposable {
  readonly tensors: ReadonlyMap<string, DeviceTensor>;

  /**
   * @param names of the inputs: those of `FedInputs` except a mask
   * @param most largest number of tokens
   */
  constructor(runner: Runner, names: readonly string[], most: number) {
    const value = (name: string): Tensor => {
      switch (name) {
        case TARGET_ROWS:
          return int64([1], [0]);
        case FILLED_LENGTH:
          return int32([1], [0]);
        // A changed value would need another recording.
        case TOTAL_LENGTH_INPUT:
          return int32([], [most]);
        default:
          return int64([1, 1], [0]);
      }
    };
    this.tensors = new Map(names.map((name) => [name, runner.upload(value(name))]));
  }

  /** @param start tokens that were read before */
  write(token: number, start: number): void {
    this.tensors.get("input_ids")?.write(int64([1, 1], [token]));
    this.tensors.get("position_ids")?.write(int64([1, 1], [start]));
    this.tensors.get(FILLED_LENGTH)?.write(int32([1], [start]));
  }

  [Symbol.dispose](): void {
    for (const tensor of this.tensors.values()) tensor[Symbol.dispose]();
  }
}
