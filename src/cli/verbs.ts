/** The verbs of the command line, each loaded only when it is called. */
import type { Verbs } from "./command.ts";

/** Loader of each verb's file, in the order of the help. */
export const VERBS: Verbs = {
  quickstart: () => import("./train/quickstart.ts"),
  train: () => import("./train/train.ts"),
  "rank-search": () => import("./train/rank_search.ts"),
  merge: () => import("./merge/merge.ts"),
  compose: () => import("./merge/compose.ts"),
  export: () => import("./merge/export.ts"),
  run: () => import("./run/run.ts"),
  serve: () => import("./serve/serve.ts"),
  eval: () => import("./run/eval.ts"),
  analyze: () => import("./analyze/analyze.ts"),
  inspect: () => import("./models/inspect.ts"),
  quantize: () => import("./models/quantize.ts"),
  pull: () => import("./models/pull.ts"),
  list: () => import("./models/list.ts"),
  show: () => import("./models/show.ts"),
  rm: () => import("./models/rm.ts"),
  bench: () => import("./bench/bench.ts"),
  doctor: () => import("./about/doctor.ts"),
  fleet: () => import("./fleet/fleet.ts"),
  service: () => import("./service/service.ts"),
  completion: () => import("./about/completion.ts"),
  licenses: () => import("./about/licenses.ts"),
};
