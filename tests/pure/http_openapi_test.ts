import { assert, assertEquals } from "@std/assert";
import { openapi } from "../../src/http/openapi.ts";
import { OPERATIONS } from "../../src/http/operations.ts";

interface Described {
  readonly operationId: string;
  readonly parameters?: readonly { readonly name: string }[];
  readonly security?: readonly unknown[];
  readonly requestBody?: {
    readonly content: Readonly<Record<string, { schema: { type?: string; properties?: object } }>>;
  };
}

Deno.test("openapi() describes every route: its body from the schema that checks it, its path's parameters", () => {
  const document = openapi(OPERATIONS);
  const described = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      path,
      method,
      operation: operation as Described,
    }))
  );
  assertEquals(described.length, OPERATIONS.length);
  const ids = described.map(({ operation }) => operation.operationId);
  assertEquals(new Set(ids).size, ids.length);
  for (const { path, operation } of described) {
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    assertEquals((operation.parameters ?? []).map(({ name }) => name), named);
  }
  const bodyOf = (path: string) =>
    described.find((one) => one.path === path && one.method === "post")!.operation.requestBody!
      .content["application/json"].schema;
  for (
    const [path, keys] of [
      ["/v1/chat/completions", ["messages", "temperature", "response_format", "lora"]],
      ["/v1/embeddings", ["input", "encoding_format"]],
      ["/v1/fine_tuning/jobs", ["training_file", "method", "lora_parameters"]],
    ] as const
  ) {
    const { type, properties } = bodyOf(path);
    assertEquals(type, "object");
    for (const key of keys) assert(key in properties!, `${path} ${key}`);
  }
  const open = described.filter(({ operation }) => operation.security?.length === 0);
  assertEquals(open.map(({ path }) => path), ["/health"]);
  // It is JSON, and refers to nothing that is missing.
  const text = JSON.stringify(document);
  for (const [, reference] of text.matchAll(/"\$ref":"#\/([^"]+)"/g)) {
    const found = reference.split("/").reduce(
      (at: unknown, key) => (at as Record<string, unknown>)?.[key],
      document,
    );
    assert(found !== undefined, reference);
  }
});
