/** Finds the quickest of several ways of computing the same thing, from measurements. */

/** How long one form took. */
export interface FormTiming<Form extends string> {
  readonly form: Form;
  /** What was computed, whatever the form: equal for timings that can be compared. */
  readonly product: string;
  readonly milliseconds: number;
}

/**
 * The form that is quickest over all products that every form was timed on; `undefined` if there is none, as
 * on a release that lacks a form's kernels.
 */
export function quickestForm<Form extends string>(
  forms: readonly Form[],
  timings: readonly FormTiming<Form>[],
): Form | undefined {
  const products = Map.groupBy(timings, ({ product }) => product);
  const totals = new Map<Form, number>();
  for (const all of products.values()) {
    const byForm = new Map(all.map(({ form, milliseconds }) => [form, milliseconds]));
    if (byForm.size < forms.length) continue;
    for (const [form, time] of byForm) totals.set(form, (totals.get(form) ?? 0) + time);
  }
  return [...totals].toSorted(([, a], [, b]) => a - b)[0]?.[0];
}
