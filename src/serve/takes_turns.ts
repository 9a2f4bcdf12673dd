/** Whether a prompt is a turn of a chat, or a text to go on from. */
import { ParameterError } from "../errors.ts";

/** How a prompt is put to a language model. */
export interface TurnOptions {
  /** System message of the chat; default none. */
  readonly system?: string;
  /** Whether the prompt is taken as it is, without the model's chat template; default false. */
  readonly raw?: boolean;
}

/**
 * Whether prompts are a user's turns, put through the chat template.
 *
 * @throws {ParameterError} for a system message where there is no chat
 */
export function takesTurns({ system, raw = false }: TurnOptions, hasTemplate: boolean): boolean {
  const chat = hasTemplate && !raw;
  if (system === undefined || chat) return chat;
  throw new ParameterError(
    "system",
    (name) =>
      raw
        ? `${name("raw")} takes the text as it is: leave ${name("system")} out`
        : `${name("system")} needs a model with a chat template: this one has none`,
  );
}
