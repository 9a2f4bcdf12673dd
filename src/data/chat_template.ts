/** A model's own chat template: renders messages as the text format the model was trained on. */
import { BadInputError } from "../errors.ts";
import { BoundedTemplate } from "./bounded_jinja.ts";
import type { Message } from "./messages.ts";
import type { SpecialTokens } from "./special_tokens.ts";

/** A template's text and the file that it came from. */
export interface ChatTemplateFile {
  /** File that the template came from, for messages. */
  readonly name: string;
  /** Jinja source. */
  readonly text: string;
}

/** What a template is rendered with. */
export interface RenderOptions {
  /** Whether to end with the opening of an assistant's turn, which the model continues. */
  readonly addGenerationPrompt?: boolean;
  /** Tool descriptions, if the template supports tools. */
  readonly tools?: readonly unknown[];
}

export class ChatTemplate {
  readonly #template: BoundedTemplate;
  readonly #name: string;
  readonly #specialTokens: SpecialTokens;

  /** @throws {BadInputError} for text that is not a template, naming the file */
  constructor(file: ChatTemplateFile, specialTokens: SpecialTokens) {
    this.#name = file.name;
    this.#specialTokens = specialTokens;
    try {
      this.#template = new BoundedTemplate(file.text);
    } catch (error) {
      throw new BadInputError(
        `${file.name} is not a readable chat template: ${(error as Error).message}`,
        { cause: error },
      );
    }
  }

  /**
   * Renders a chat.
   *
   * @throws {BadInputError} if the template refuses these messages or does not end
   */
  render(messages: readonly Message[], options: RenderOptions = {}): string {
    try {
      return this.#template.render({
        ...this.#specialTokens,
        messages,
        tools: options.tools ?? null,
        documents: null,
        add_generation_prompt: options.addGenerationPrompt ?? false,
      });
    } catch (error) {
      throw new BadInputError(
        `the chat template ${this.#name} cannot render these messages: ${(error as Error).message}`,
        { cause: error },
      );
    }
  }
}
