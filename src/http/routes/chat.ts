/** `POST /v1/chat/completions`: answers the last message of a chat. */
import { parseMessages } from "../../data/messages.ts";
import { ApiError } from "../api_error.ts";
import { parseBody } from "../parse_body.ts";
import { type ChatRequest, chatRequest } from "../schemas/chat.ts";
import { chosenModel, requireKind, type ServedModel } from "../served_model.ts";
import type { Handler, ServerParts } from "../server_parts.ts";
import { chatLogprobs } from "./log_probabilities.ts";
import { answerText, type Format } from "./text_route.ts";

/** Characters of a JSON schema, which is compiled for the answer. */
const LONGEST_SCHEMA = 64 * 1024;

export function chatCompletions(parts: ServerParts): Handler {
  return async (context) => {
    const request = await parseBody(context, chatRequest);
    const served = chosenModel(parts.models, request.model);
    requireKind(served, ["causal"], "chat");
    if (!served.model.hasTemplate) {
      throw new ApiError(400, `${served.id} has no chat template: use /v1/completions`, {
        param: "model",
        code: "unsupported_model",
      });
    }
    const topLogprobs = request.logprobs === true ? request.top_logprobs ?? 0 : undefined;
    return await answerText(context, {
      served,
      requestModel: request.model,
      prompts: [{ messages: parseMessages(request.messages, "messages") }],
      sampling: {
        ...request,
        max_tokens: request.max_completion_tokens ?? request.max_tokens,
      },
      topLogprobs,
      schema: schemaOf(request.response_format),
      format: chatFormat(served),
    }, parts);
  };
}

/** @throws {ApiError} 400 for a schema that is too long */
function schemaOf(format: ChatRequest["response_format"]): string | undefined {
  if (format?.type === "json_object") return JSON.stringify({ type: "object" });
  if (format?.type !== "json_schema") return undefined;
  const schema = JSON.stringify(format.json_schema.schema);
  if (schema.length <= LONGEST_SCHEMA) return schema;
  throw new ApiError(400, `A JSON schema may have at most ${LONGEST_SCHEMA} characters`, {
    param: "response_format",
  });
}

function chatFormat({ model }: ServedModel): Format {
  return {
    operation: "chat",
    object: "chat.completion",
    partObject: "chat.completion.chunk",
    prefix: "chatcmpl",
    async choice(index, { text, finishReason, scores }) {
      return {
        index,
        message: { role: "assistant", content: text, refusal: null },
        logprobs: scores === undefined ? null : await chatLogprobs(model, scores),
        finish_reason: finishReason,
      };
    },
    async part(index, part) {
      if ("begins" in part) {
        return { index, delta: { role: "assistant", content: "" }, finish_reason: null };
      }
      if ("ends" in part) return { index, delta: {}, finish_reason: part.ends };
      const { piece, scores } = part;
      const logprobs = scores.length === 0 ? null : await chatLogprobs(model, scores);
      return { index, delta: { content: piece }, logprobs, finish_reason: null };
    },
  };
}
