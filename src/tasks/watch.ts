/** How a caller follows work that takes long, and ends it. */
import type { Message } from "../errors.ts";

/** Follows work by its events, and ends it. */
export interface Watch<Event> {
  /** Called with each event as it comes. */
  readonly onEvent?: (event: Event) => void;
  /** Ends the work at the next matrix, batch or file: its reason is thrown. */
  readonly signal?: AbortSignal;
}

/** What ONNX Runtime does in another way than asked for, where graphs run, and what takes minutes. */
export interface RuntimeNote {
  /** Which event it is. */
  readonly kind: "runtime note";
  /** A sentence, which may name parameters. */
  readonly message: Message;
}
