/** What is being asked; it stays while other views are shown. */
import { Store } from "../shared/store.js";

export const draft = new Store({
  message: "",
  /** @type {readonly string[] | undefined} keys of choices, in the order of choosing */
  chosen: undefined,
  system: "",
  maxTokens: 128,
  temperature: 0,
  /** A number as text; empty for a random one. */
  seed: "",
});
