const DATE_TIME = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):(\d\d))$/

const MINUTE_MS = 60_000
/** XML Schema 1.1 Part 2 §3.3.7: time zones reach from -14:00 to +14:00. */
const MAX_OFFSET_MINUTES = 14 * 60

/** A moment (milliseconds since 1970) as DateTime of XEP-0082, in UTC with milliseconds. */
export function formatDateTime(at: number): string {
  return new Date(at).toISOString()
}

/**
 * A DateTime of XEP-0082 (with any number of fraction digits and any time zone) in milliseconds since
 * 1970; what is finer is cut off. Undefined when `text` is none: days must exist in their month, hours
 * end at 23, and a leap second is none.
 */
export function parseDateTime(text: string): number | undefined {
  const parts = DATE_TIME.exec(text)
  if (parts === null) return undefined
  const [, date, time, fraction = '', sign, hours = '0', minutes = '0'] = parts

  const local = `${date}T${time}.${fraction.slice(0, 3).padEnd(3, '0')}Z`
  const at = Date.parse(local)
  // Dates that do not exist come out as NaN or as another date.
  if (Number.isNaN(at) || new Date(at).toISOString() !== local) return undefined

  const offset = Number(hours) * 60 + Number(minutes)
  if (offset > MAX_OFFSET_MINUTES || Number(minutes) > 59) return undefined
  return sign === '-' ? at + offset * MINUTE_MS : at - offset * MINUTE_MS
}
