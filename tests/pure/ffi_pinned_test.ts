import { assertEquals, assertThrows } from "@std/assert";
import { Pinned, Pins } from "../../ffi/pinned.ts";

class Value extends Pinned {
  released = 0;

  constructor() {
    super("value");
  }

  protected override release(): void {
    this.released++;
  }
}

Deno.test("Pins keep what was disposed of until they are disposed of, however often it was named", () => {
  const [one, other] = [new Value(), new Value()];
  {
    using pins = new Pins();
    for (const value of [one, other, one, one]) pins.hold(value);
    one[Symbol.dispose]();
    pins.hold(one);
    assertEquals(one.released, 0);
  }
  assertEquals([one.released, other.released], [1, 0]);
  using pins = new Pins();
  assertThrows(() => pins.hold(one), ReferenceError, "The value was used after it was disposed of");
});
