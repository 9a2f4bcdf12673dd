/** `POST /v1/completions`: continues texts. */
import type { Prompt } from "../generation.ts";
import { parseBody } from "../parse_body.ts";
import { type CompletionRequest, completionRequest } from "../schemas/completion.ts";
import { chosenModel, requireKind, type ServedModel } from "../served_model.ts";
import type { Handler, ServerParts } from "../server_parts.ts";
import { completionLogprobs } from "./log_probabilities.ts";
import { answerText, type Format } from "./text_route.ts";

export function completions(parts: ServerParts): Handler {
  return async (context) => {
    const request = await parseBody(context, completionRequest);
    const served = chosenModel(parts.models, request.model);
    requireKind(served, ["causal"], "continue a text");
    return await answerText(context, {
      served,
      requestModel: request.model,
      prompts: promptsOf(request.prompt),
      sampling: request,
      topLogprobs: request.logprobs ?? undefined,
      format: completionFormat(served),
    }, parts);
  };
}

function promptsOf(prompt: CompletionRequest["prompt"]): readonly Prompt[] {
  if (typeof prompt === "string") return [{ text: prompt }];
  const isIds = (list: typeof prompt): list is number[] => typeof list[0] === "number";
  if (isIds(prompt)) return [{ text: prompt }];
  return (prompt as readonly (string | number[])[]).map((text) => ({ text }));
}

function completionFormat({ model }: ServedModel): Format {
  /** Characters of each answer so far. */
  const offsets: number[] = [];
  return {
    operation: "text_completion",
    object: "text_completion",
    partObject: "text_completion",
    prefix: "cmpl",
    async choice(index, { text, finishReason, scores }) {
      return {
        index,
        text,
        logprobs: scores === undefined ? null : await completionLogprobs(model, scores),
        finish_reason: finishReason,
      };
    },
    async part(index, part) {
      if ("begins" in part) return undefined;
      if ("ends" in part) return { index, text: "", logprobs: null, finish_reason: part.ends };
      const { piece, scores } = part;
      const offset = offsets[index] ?? 0;
      offsets[index] = offset + piece.length;
      const logprobs = scores.length === 0 ? null : await completionLogprobs(model, scores, offset);
      return { index, text: piece, logprobs, finish_reason: null };
    },
  };
}
