import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { asFlag } from "../../src/config/parameter.ts";
import { ParameterError, worded } from "../../src/errors.ts";
import {
  allOpen,
  askedEvery,
  batteryGate,
  type Gate,
  temperatureGate,
  windowGate,
} from "../../src/train/pause.ts";

const at = (hours: number, minutes: number) => () => new Date(2026, 0, 5, hours, minutes);
const isOpen = (text: string, hours: number, minutes = 0) =>
  windowGate(text, at(hours, minutes)).closedBy(false) === undefined;

Deno.test("windowGate() opens between its times, over midnight too", () => {
  const hours = [0, 1, 4, 5, 12, 22, 23];
  assertEquals(hours.filter((hour) => isOpen("01:00-05:00", hour)), [1, 4]);
  assertEquals(hours.filter((hour) => isOpen("22:00-05:00", hour)), [0, 1, 4, 22, 23]);
  assertEquals(hours.filter((hour) => isOpen("12:00-24:00", hour)), [12, 22, 23]);
  assertEquals([isOpen("9:30-9:45", 9, 44), isOpen("9:30-9:45", 9, 45)], [true, false]);
});

Deno.test("windowGate() refuses what is no window, with the text", () => {
  for (const text of ["", "1-5", "25:00-05:00", "01:60-05:00", "01:00-24:01", "03:00-03:00"]) {
    const error = assertThrows(() => windowGate(text), ParameterError);
    assertEquals(error.parameter, "window");
    assertStringIncludes(error.message, `current value is "${text}"`);
  }
});

Deno.test("temperatureGate() closes above its limit and opens 5 degrees below it", () => {
  let celsius = 84;
  const gate = temperatureGate(85, () => [
    { name: "gpu-thermal", celsius: 50 },
    { name: "cpu-thermal", celsius },
  ]);
  const closed = (value: number, waiting: boolean) => {
    celsius = value;
    return gate.closedBy(waiting) !== undefined;
  };
  assertEquals([84, 85, 85.5].map((value) => closed(value, false)), [false, false, true]);
  assertEquals([85, 80.5, 80].map((value) => closed(value, true)), [true, true, false]);
  celsius = 91.25;
  const reason = gate.closedBy(false)!;
  assertEquals(worded(reason), "cpu-thermal is at 91.3 °C, maxTemperature is 85");
  assertEquals(worded(reason, asFlag), "cpu-thermal is at 91.3 °C, --max-temperature is 85");
});

Deno.test("temperatureGate() refuses where nothing measures a temperature", () => {
  const error = assertThrows(() => temperatureGate(85, () => []), ParameterError);
  assertEquals(error.parameter, "maxTemperature");
  assertStringIncludes(error.worded(asFlag), "leave --max-temperature 85 out");
});

Deno.test("batteryGate() closes while a low battery discharges", () => {
  const closed = (percent: number, discharging: boolean, waiting = false) =>
    batteryGate(20, () => [{ name: "BAT0", percent, discharging }]).closedBy(waiting) !== undefined;
  assertEquals([closed(19, true), closed(20, true), closed(19, false)], [true, false, false]);
  assertEquals([closed(24, true, true), closed(25, true, true)], [true, false]);
  assertEquals(batteryGate(20, () => []).closedBy(false), undefined);
});

Deno.test("askedEvery() asks its gate at most once in its time, allOpen() each in turn", () => {
  let asked = 0;
  const counting: Gate = {
    closedBy() {
      asked++;
      return "closed";
    },
  };
  const gate = askedEvery(60_000, allOpen([{ closedBy: () => undefined }, counting]));
  assertEquals([gate.closedBy(false), gate.closedBy(true)], ["closed", "closed"]);
  assertEquals(asked, 1);
});
