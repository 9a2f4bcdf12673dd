import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { Random } from "../../src/random.ts";

const take = (random: Random, count: number) => Array.from({ length: count }, () => random.next());

Deno.test("Random gives the same numbers for the same seed, others for another", () => {
  assertEquals(take(Random.fromSeed(7), 20), take(Random.fromSeed(7), 20));
  assertNotEquals(take(Random.fromSeed(7), 20), take(Random.fromSeed(8), 20));
});

Deno.test("Random goes on from a written state as if it had not stopped", () => {
  const straight = Random.fromSeed(3);
  const stopped = Random.fromSeed(3);
  take(straight, 1000);
  take(stopped, 1000);
  assertEquals(take(Random.fromState(stopped.state), 100), take(straight, 100));
});

Deno.test("Random follows pcg32's recurrence and output function in 64-bit arithmetic", () => {
  const random = Random.fromState("0000000000000001");
  let state = 1n;
  for (let i = 0; i < 100; i++) {
    const shifted = BigInt.asUintN(32, ((state >> 18n) ^ state) >> 27n);
    const turn = state >> 59n;
    const expected = BigInt.asUintN(32, (shifted >> turn) | (shifted << (32n - turn)));
    assertEquals(BigInt(random.next()), expected);
    state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
  }
});

Deno.test("Random spreads its numbers evenly over bits", () => {
  const counts = Array(32).fill(0);
  for (const value of take(Random.fromSeed(0), 4000)) {
    for (let bit = 0; bit < 32; bit++) counts[bit] += (value >>> bit) & 1;
  }
  // 2000 ± 6 standard deviations of a fair coin thrown 4000 times
  for (const count of counts) assert(Math.abs(count - 2000) < 190, `${counts}`);
});

Deno.test("Random.fromState() refuses text that is no state", () => {
  for (const text of ["", "12", "zz00000000000000", "0".repeat(17)]) {
    assertThrows(() => Random.fromState(text), SyntaxError, "16 hexadecimal digits");
  }
});
