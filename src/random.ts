/**
 * A generator of random numbers whose whole state can be written down, for what must be the same
 * after a resume: dropout masks.
 *
 * PCG-XSH-RR 64/32 (M. E. O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically
 * Good Algorithms for Random Number Generation", 2014): a 64-bit linear congruential state,
 * 32 bits of output.
 */

const MULTIPLIER = 6364136223846793005n;
const INCREMENT = 1442695040888963407n;
const MASK = (1n << 64n) - 1n;

/** A seeded generator of whole numbers of 32 bits. */
export class Random {
  #state: bigint;

  private constructor(state: bigint) {
    this.#state = state;
  }

  /** A generator whose numbers follow from the seed alone. */
  static fromSeed(seed: number): Random {
    const random = new Random((BigInt(seed) + INCREMENT) & MASK);
    random.next();
    return random;
  }

  /**
   * A generator that goes on where another's {@linkcode state} was written down.
   *
   * @throws {SyntaxError} for text that is no state
   */
  static fromState(state: string): Random {
    if (!/^[0-9a-f]{16}$/.test(state)) {
      throw new SyntaxError(`A random state is 16 hexadecimal digits: current value is "${state}"`);
    }
    return new Random(BigInt(`0x${state}`));
  }

  /** The state as 16 hexadecimal digits. */
  get state(): string {
    return this.#state.toString(16).padStart(16, "0");
  }

  /** The next whole number in [0, 2^32). */
  next(): number {
    const old = this.#state;
    this.#state = (old * MULTIPLIER + INCREMENT) & MASK;
    const mixed = Number(((old >> 18n) ^ old) >> 27n & 0xffffffffn);
    const turn = Number(old >> 59n);
    return ((mixed >>> turn) | (mixed << (-turn & 31))) >>> 0;
  }
}
