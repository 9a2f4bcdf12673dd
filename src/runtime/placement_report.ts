/** Tells once where graphs run, when those that belong together have been compiled. */
import { describePlacement, type Placement } from "./placement.ts";

/** Milliseconds without another graph after which those that came are told. */
const QUIET_MS = 3000;

/** Gathers the placement of sessions: training makes a dozen within its first step. */
export class PlacementReport implements Disposable {
  readonly #wanted: readonly string[];
  readonly #note: (line: string) => void;
  #placements: Placement[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param wanted providers that were asked for, best first, as ORT lists them */
  constructor(wanted: readonly string[], note: (line: string) => void) {
    this.#wanted = wanted;
    this.#note = note;
  }

  add(placement: Placement): void {
    this.#placements.push(placement);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tell(), QUIET_MS);
    // It is told at the end at the latest: nothing has to wait for the timer.
    Deno.unrefTimer(Number(this.#timer));
  }

  /** Tells what was not told. */
  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#tell();
  }

  #tell(): void {
    const placements = this.#placements;
    this.#placements = [];
    if (placements.length === 0) return;
    for (const line of describePlacement(placements, this.#wanted)) this.#note(line);
  }
}
