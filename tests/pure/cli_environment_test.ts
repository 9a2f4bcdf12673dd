import { assertEquals, assertThrows } from "@std/assert";
import { environmentValues } from "../../src/cli/environment.ts";
import { boolean, integer, list } from "../../src/cli/flags.ts";
import { handedSocket, httpAddress } from "../../src/cli/service/http_flags.ts";
import { UsageError } from "../../src/errors.ts";

const FLAGS = {
  ctxSize: integer("Tokens", { min: 1 }),
  apiKey: list("Keys"),
  metrics: boolean("Whether"),
};

const values = (variables: Readonly<Record<string, string>>) =>
  environmentValues(FLAGS, "GRAFT_ARG_", (name) => variables[name]);

Deno.test("environmentValues() reads flags from variables, and names the variable of a wrong value", () => {
  assertEquals(values({ GRAFT_ARG_CTX_SIZE: "64", GRAFT_ARG_API_KEY: "a,b", OTHER: "1" }), {
    ctxSize: 64,
    apiKey: ["a", "b"],
  });
  assertEquals(values({ GRAFT_ARG_METRICS: "false" }), { metrics: false });
  assertThrows(() => values({ GRAFT_ARG_CTX_SIZE: "0" }), UsageError, "GRAFT_ARG_CTX_SIZE");
});

Deno.test("httpAddress() reads an address, and refuses one that other machines reach without a key", () => {
  assertEquals(httpAddress("127.0.0.1:8080", false), { host: "127.0.0.1", port: 8080 });
  assertEquals(httpAddress("[::1]:0", false), { host: "::1", port: 0 });
  assertEquals(httpAddress("0.0.0.0:80", true), { host: "0.0.0.0", port: 80 });
  for (
    const text of ["", "8080", "localhost", "localhost:x", "a b:1", "localhost:70000", "::1:80"]
  ) {
    assertThrows(() => httpAddress(text, true), UsageError, "HOST:PORT", text);
  }
  for (const text of ["0.0.0.0:80", "[::]:80", "box.local:80", "127.0.0.1.example.com:80"]) {
    assertThrows(() => httpAddress(text, false), UsageError, "--api-key-file", text);
  }
});

Deno.test("handedSocket() is the first descriptor, where it is meant for this process", () => {
  const handed = (variables: Readonly<Record<string, string>>) =>
    handedSocket((name) => variables[name]);
  const own = String(Deno.pid);
  assertEquals(handed({ LISTEN_PID: own, LISTEN_FDS: "1" }), 3);
  assertEquals(handed({ LISTEN_PID: own, LISTEN_FDS: "0" }), undefined);
  assertEquals(handed({ LISTEN_PID: "1", LISTEN_FDS: "1" }), undefined);
  assertEquals(handed({}), undefined);
});
