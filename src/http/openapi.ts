/** The OpenAPI 3.1 document of the API, made of the schemas that check its requests. */
import { toJsonSchema } from "@valibot/to-json-schema";
import { VERSION } from "../version.ts";
import type { Operation } from "./operations.ts";

/** @param operations in the order of the document */
export function openapi(operations: readonly Operation[]) {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const operation of operations) {
    const path = operation.path.replace(/:(\w+)/g, "{$1}");
    paths[path] = { ...paths[path], [operation.method]: describe(operation) };
  }
  return {
    openapi: "3.1.0",
    info: { title: "graft", version: VERSION },
    security: [{ key: [] }],
    paths,
    components: {
      securitySchemes: { key: { type: "http", scheme: "bearer" } },
      schemas: { Error: ERROR },
    },
  };
}

function describe({ id, summary, path, request, form, answers, isOpen }: Operation) {
  const parameters = [...path.matchAll(/:(\w+)/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
  const content = Object.fromEntries((answers ?? ["application/json"]).map((type) => [type, {}]));
  return {
    operationId: id,
    summary,
    ...(isOpen === true ? { security: [] } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(request === undefined ? {} : {
      requestBody: {
        required: true,
        content: {
          "application/json": { schema: toJsonSchema(request, { errorMode: "ignore" }) },
        },
      },
    }),
    ...(form === true ? { requestBody: { required: true, content: FILE_FORM } } : {}),
    responses: {
      200: { description: "The answer", content },
      default: {
        description: "An error",
        content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } },
      },
    },
  };
}

const FILE_FORM = {
  "multipart/form-data": {
    schema: {
      type: "object",
      required: ["file", "purpose"],
      properties: {
        file: { type: "string", format: "binary" },
        purpose: { const: "fine-tune" },
      },
    },
  },
};

const nullableText = { type: ["string", "null"] };

const ERROR = {
  type: "object",
  required: ["error"],
  properties: {
    error: {
      type: "object",
      required: ["message", "type", "param", "code"],
      properties: {
        message: { type: "string" },
        type: { type: "string" },
        param: nullableText,
        code: nullableText,
      },
    },
  },
};
