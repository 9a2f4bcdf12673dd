/** Chat messages of a row, checked. */
import { BadInputError } from "../errors.ts";
import { describe, isObject, textIn } from "./json.ts";

/** Roles of a chat. */
export type Role = "system" | "developer" | "user" | "assistant" | "tool";

const ROLES: readonly Role[] = ["system", "developer", "user", "assistant", "tool"];

/** One message; other fields are passed to the chat template unchanged. */
export interface Message {
  /** The role of the speaker. */
  readonly role: Role;
  /** The text of the message. */
  readonly content: string;
  /** 0 leaves an assistant's turn out of the loss, as in OpenAI's fine-tuning files. */
  readonly weight?: 0 | 1;
  /** Fields that a chat template may read. */
  readonly [field: string]: unknown;
}

/**
 * Parses a row's messages.
 *
 * @param place file and line for messages
 * @throws {BadInputError} for anything but a non-empty array of `{role, content}` of known roles
 */
export function parseMessages(value: unknown, place: string): Message[] {
  if (!Array.isArray(value) || value.length === 0) {
    throw new BadInputError(
      `${place}: "messages" must be an array of {"role", "content"}: current value is ` +
        describe(value),
    );
  }
  return value.map((message, i) => parseMessage(message, `${place}: message ${i + 1}`));
}

function parseMessage(value: unknown, place: string): Message {
  if (!isObject(value)) {
    throw new BadInputError(
      `${place} must be {"role", "content"}: current value is ${describe(value)}`,
    );
  }
  const { role, weight } = value;
  if (!(ROLES as readonly unknown[]).includes(role)) {
    throw new BadInputError(
      `${place}: the role must be one of ${ROLES.join(", ")}: current value is ${describe(role)}`,
    );
  }
  if (weight !== undefined && weight !== 0 && weight !== 1) {
    throw new BadInputError(
      `${place}: the weight must be 0 or 1: current value is ${describe(weight)}`,
    );
  }
  return { ...value, role: role as Role, content: contentOf(value, place) };
}

/** Reads text, or the joined text parts of OpenAI's list form; may be absent if there are tool calls. */
function contentOf(message: { readonly [field: string]: unknown }, place: string): string {
  const { content } = message;
  if (Array.isArray(content)) {
    return content.map((part) => {
      if (isObject(part) && part.type === "text") return textIn(part.text, "text", place);
      throw new BadInputError(
        `${place}: only parts {"type": "text"} can be learned: current value is ${describe(part)}`,
      );
    }).join("");
  }
  if ((content === undefined || content === null) && Array.isArray(message.tool_calls)) return "";
  return textIn(content, "content", place);
}
