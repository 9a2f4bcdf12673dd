/** The API as a function from requests to answers. */
import { type Context, Hono } from "hono";
import { ApiError, fromLibrary } from "./api_error.ts";
import type { Hosts, Keys } from "./guard.ts";
import { openapi } from "./openapi.ts";
import { OPERATIONS } from "./operations.ts";
import { isPageRequest, PAGE_PATHS, PAGE_ROUTE, pageFile } from "./routes/page.ts";
import type { ServerParts } from "./server_parts.ts";
import { CLIENT_LEFT, type RequestSpan, type Tracing } from "./trace/tracing.ts";

/** An answered request. */
export interface AccessEntry {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly ms: number;
  /** Of the trace that it is a part of, where requests are traced. */
  readonly traceId?: string;
}

/** What handlers keep for each other. */
interface Kept {
  readonly Variables: {
    requestId: string;
    /** Absent where requests are not traced. */
    span?: RequestSpan;
    /** Resolves when an answer in pieces has been sent. */
    ended?: Promise<void>;
  };
}

export interface AppOptions extends ServerParts {
  readonly keys: Keys;
  readonly hosts: Hosts;
  /** Whether there is a page for people at `/`; default false. */
  readonly page?: boolean;
  /** Told of each answered request. */
  readonly onAccess?: (entry: AccessEntry) => void;
  /** Absent: requests are not traced. */
  readonly tracing?: Tracing;
}

const REQUEST_ID = "x-request-id";

/** @returns what answers requests: `app.fetch` */
export function createApp(options: AppOptions): Hono<Kept> {
  const { keys, hosts, onAccess, onFailure, tracing } = options;
  const app = new Hono<Kept>();
  const pagePaths = options.page === true ? PAGE_PATHS : [];
  const routes = new Map<string, string>([
    ...OPERATIONS.map(({ method, path }) => [`${method} ${path}`, path] as const),
    ...pagePaths.map((path) => [`get ${path}`, PAGE_ROUTE] as const),
  ]);
  app.use(async (context, next) => {
    const start = performance.now();
    const id = requestId(context);
    const url = new URL(context.req.url);
    const { headers } = context.req.raw;
    const span = tracing?.begin({ method: context.req.method, url, headers, id });
    context.set("span", span);
    await next();
    // Errors have become answers here.
    context.res.headers.set(REQUEST_ID, id);
    context.res.headers.set("x-content-type-options", "nosniff");
    const { method, routePath } = context.req;
    // Encoded, so that a line of the log stays one.
    const path = url.pathname;
    const { status } = context.res;
    const route = routes.get(`${method.toLowerCase()} ${routePath}`);
    const told = () => {
      const ms = performance.now() - start;
      options.metrics.request(route ?? "other", status, ms / 1000);
      if (span !== undefined && context.req.raw.signal.aborted) span.fail(CLIENT_LEFT);
      span?.end({ route, status });
      onAccess?.({ id, method, path, status, ms, traceId: span?.traceId });
    };
    const ended = context.get("ended");
    if (ended === undefined) told();
    else void ended.then(told);
  });
  app.use(async (context, next) => {
    const host = context.req.header("host");
    hosts.check(host);
    const isRead = context.req.method === "GET" || context.req.method === "HEAD";
    if (!isRead) hosts.checkOrigin(context.req.header("origin"), host);
    const isOpen = (options.page === true && isPageRequest(context.req)) ||
      OPERATIONS.some(({ isOpen, path }) => isOpen === true && path === context.req.path);
    if (!isOpen) keys.check(context);
    await next();
  });
  for (const operation of OPERATIONS) {
    app[operation.method](operation.path, operation.handler(options));
  }
  const sendFile = pageFile();
  for (const path of pagePaths) app.get(path, sendFile);
  app.get("/openapi.json", (context) => context.json(openapi(OPERATIONS)));
  app.notFound((context) => {
    const { method, path } = context.req;
    return new ApiError(404, `There is no ${method} ${path}; /openapi.json says what there is`)
      .response();
  });
  app.onError((error, context) => {
    const known = fromLibrary(error);
    if (known !== undefined) return known.response();
    onFailure(error, context.get("requestId"));
    context.get("span")?.fail(error.name);
    return new ApiError(500, "The server failed; its log says why").response();
  });
  return app;
}

/** The client's own id if it is a plain word, else a new one. */
function requestId(context: Context<Kept>): string {
  const given = context.req.header(REQUEST_ID);
  const id = given !== undefined && /^[\w.-]{1,128}$/.test(given) ? given : crypto.randomUUID();
  context.set("requestId", id);
  return id;
}
