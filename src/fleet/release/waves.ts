/**
 * Waves of a roll-out: which boxes go first.
 *
 * Each box has a position in [0, 1) that follows from its name and the release alone, so that a box
 * computes it without knowing the others, it stays where it is while others come and go, and another
 * release begins with other boxes. A wave is open for the positions below a number.
 */
import { createHash } from "node:crypto";
import { ParameterError } from "../../errors.ts";

/** How many boxes a wave ends with, of those that the fleet is known to have. */
export type Wave = string;

/** `10` or `10%` of the boxes, or `2boxes`. */
const WAVE = /^(\d{1,3}(?:\.\d{1,4})?)%?$|^(\d{1,6})box(?:es)?$/;

/** Whether a text describes a wave. */
export function isWave(text: string): boolean {
  const match = WAVE.exec(text);
  if (match === null) return false;
  return match[1] === undefined
    ? Number(match[2]) > 0
    : Number(match[1]) > 0 && Number(match[1]) <= 100;
}

/** A wave in the form that orders have: `10%`, `2boxes`. */
export function formatWave(wave: Wave): string {
  const match = WAVE.exec(wave)!;
  return match[1] === undefined ? `${Number(match[2])}boxes` : `${Number(match[1])}%`;
}

/**
 * Checks waves of a command line.
 *
 * @throws {ParameterError} for one that is none, and for waves of one unit that do not grow
 */
export function parseWaves(texts: readonly string[]): readonly Wave[] {
  const bad = texts.find((text) => !isWave(text));
  if (bad !== undefined || texts.length === 0) {
    throw new ParameterError(
      "waves",
      (name) =>
        `${
          name("waves")
        } must be per cent of the fleet, such as 1,10,100, or numbers of boxes, such as ` +
        `2boxes: current value is "${bad ?? ""}"`,
    );
  }
  const waves = texts.map(formatWave);
  for (let i = 1; i < waves.length; i++) {
    const [before, now] = [waves[i - 1], waves[i]];
    if (before.endsWith("%") !== now.endsWith("%")) continue;
    if (parseFloat(now) <= parseFloat(before)) {
      throw new ParameterError(
        "waves",
        (name) => `${name("waves")} must grow: ${now} comes after ${before}`,
      );
    }
  }
  return waves;
}

const BITS = 48;

/** Position of a box in a release, in [0, 1). */
export function positionOf(box: string, release: string): number {
  const digest = createHash("sha256").update(`${release}\n${box}`).digest();
  return digest.readUIntBE(0, BITS / 8) / 2 ** BITS;
}

/**
 * The number that opens a wave: boxes with positions below it belong to the wave.
 *
 * A share of few boxes is at least one box. Everything is open for 100%; otherwise exactly as many of the
 * known boxes as the wave says, and of those that appear later the like share.
 *
 * @param boxes names of the known ones
 * @param release its id
 */
export function opening(wave: Wave, boxes: readonly string[], release: string): number {
  const isShare = wave.endsWith("%");
  const size = parseFloat(wave);
  if (isShare && size === 100) return 1;
  if (boxes.length === 0) return isShare ? size / 100 : 0;
  const wanted = isShare ? Math.ceil(boxes.length * size / 100) : size;
  const positions = boxes.map((box) => positionOf(box, release)).sort((a, b) => a - b);
  return Math.min(1, positions[Math.min(wanted, boxes.length) - 1] + 2 ** -BITS);
}
