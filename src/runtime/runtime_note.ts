/** What running graphs reports besides results. */
import type { Message } from "../errors.ts";

/** What ONNX Runtime does in another way than asked for, where graphs run, and what takes minutes. */
export interface RuntimeNote {
  /** Which event it is. */
  readonly kind: "runtime note";
  /** A sentence, which may name parameters. */
  readonly message: Message;
}
