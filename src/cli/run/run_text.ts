/** `graft run` on a language model: answers, one by one or as a chat. */
import type { Message } from "../../data/mod.ts";
import { EXIT, GraftError } from "../../errors.ts";
import { validateSampling } from "../../serve/sampler.ts";
import { takesTurns } from "../../serve/takes_turns.ts";
import type { GeneratedText, TextGenerator, TextOptions } from "../../serve/text_generator.ts";
import { messageOf } from "../terminal/exit.ts";
import type { Terminal } from "../terminal/output.ts";
import type { RunFlags } from "./run_flags.ts";
import { StopSignal } from "../terminal/stop_signal.ts";

/** How the flags say that texts are to be answered. */
export interface AnswerSettings extends TextOptions {
  readonly seed: number;
  /** Whether prompts are a user's turns, put through the chat template. */
  readonly chat: boolean;
  readonly system?: string;
}

/** What goes on from texts and answers chats. */
export type Answerer = Pick<TextGenerator, "chat" | "complete">;

/**
 * @throws {UsageError} for sampling flags out of range, and a system message without a chat
 */
export function answerSettings(flags: RunFlags, hasTemplate: boolean): AnswerSettings {
  const chat = takesTurns(flags, hasTemplate);
  const settings = {
    temperature: flags.temp,
    topK: flags.topK,
    topP: flags.topP,
    repetitionPenalty: flags.repeatPenalty,
    stop: flags.stop.filter((stop) => stop !== ""),
    maxTokens: flags.nPredict < 0 ? undefined : flags.nPredict,
    seed: flags.seed ?? crypto.getRandomValues(new Uint32Array(1))[0],
    chat,
    system: flags.system,
  };
  validateSampling(settings);
  return settings;
}

/** Answers every prompt by itself. */
export async function answerTexts(
  generator: Answerer,
  prompts: AsyncIterable<string>,
  settings: AnswerSettings,
  { json }: { readonly json: boolean },
  terminal: Terminal,
): Promise<number> {
  for await (const prompt of prompts) {
    const show = (piece: string) => json ? undefined : terminal.write(piece);
    const answer = settings.chat
      ? await generator.chat([...systemMessage(settings), user(prompt)], settings, show)
      : await generator.complete(prompt, settings, show);
    if (json) terminal.print(JSON.stringify(answerJson(prompt, answer, settings)));
    else endAnswer(answer, terminal);
  }
  return EXIT.ok;
}

function answerJson(prompt: string, answer: GeneratedText, settings: AnswerSettings) {
  return {
    prompt,
    text: answer.text,
    finish_reason: answer.finishReason,
    prompt_tokens: answer.promptTokens,
    completion_tokens: answer.ids.length,
    ...(settings.temperature === 0 ? {} : { seed: settings.seed }),
  };
}

/**
 * A chat: each line is a user's turn, and the model keeps what it has read. `/clear` forgets,
 * `/bye` or the end of the lines ends it; Ctrl-C ends an answer.
 */
export async function chat(
  generator: Answerer,
  lines: AsyncIterable<string>,
  settings: AnswerSettings,
  terminal: Terminal,
): Promise<number> {
  terminal.note("/clear forgets the chat, /bye or Ctrl-D ends it, Ctrl-C ends an answer");
  let messages: readonly Message[] = systemMessage(settings);
  for await (const line of lines) {
    const said = line.trim();
    if (said === "") continue;
    if (said === "/bye") break;
    if (said === "/clear") {
      messages = systemMessage(settings);
      continue;
    }
    const asked = [...messages, user(line)];
    try {
      using interrupt = new StopSignal(() => {});
      const options = { ...settings, signal: interrupt.signal };
      const show = (piece: string) => terminal.write(piece);
      const answer = settings.chat
        ? await generator.chat(asked, options, show)
        : await generator.complete(line, options, show);
      endAnswer(answer, terminal);
      messages = [...asked, { role: "assistant", content: answer.text }];
    } catch (error) {
      if (!(error instanceof GraftError)) throw error;
      terminal.note(`${messageOf(error)}${settings.chat ? "; /clear begins a new chat" : ""}`);
    }
  }
  return EXIT.ok;
}

function endAnswer({ text, finishReason, ids }: GeneratedText, terminal: Terminal): void {
  if (!text.endsWith("\n")) terminal.write("\n");
  if (finishReason === "length") {
    terminal.note(`The answer was cut at ${ids.length} tokens: -n and --ctx-size set how many`);
  }
}

const user = (content: string): Message => ({ role: "user", content });

function systemMessage({ system }: AnswerSettings): readonly Message[] {
  return system === undefined ? [] : [{ role: "system", content: system }];
}
