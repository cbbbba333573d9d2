/** Numbers and times for people. */

const whole = new Intl.NumberFormat('en')

export function count(value) {
  return whole.format(value)
}

/** `12.3/s`. */
export function rate(perSecond) {
  if (perSecond === null) return '–'
  return `${perSecond >= 100 ? count(Math.round(perSecond)) : perSecond.toFixed(1)}/s`
}

/** `1.2 ms`. */
export function time(ms) {
  return ms >= 100 ? `${Math.round(ms)} ms` : `${ms.toFixed(ms < 1 ? 3 : 1)} ms`
}

/** `3 min`, since a time as text. */
export function since(text) {
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(text)) / 1_000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}
