/** Parameters of RFC 3492 §5. */
const BASE = 36
const T_MIN = 1
const T_MAX = 26
const SKEW = 38
const DAMP = 700
const INITIAL_BIAS = 72
const INITIAL_N = 128

const DIGITS = 'abcdefghijklmnopqrstuvwxyz0123456789'

/** Code points above this are not Unicode; deltas are checked against it before they can overflow. */
const MAX_CODE_POINT = 0x10ffff

const ASCII = /^\p{ASCII}*$/u

/**
 * Encodes one label (RFC 3492 §6.3), without the prefix `xn--`. The label holds no lone
 * surrogates and is short (a domain name): the time is quadratic.
 */
export function encodePunycode(label: string): string {
  const points = Array.from(label, (char) => char.codePointAt(0) as number)
  const basic = points.filter((point) => point < INITIAL_N)
  let out = String.fromCharCode(...basic)
  if (basic.length > 0) out += '-'

  let n = INITIAL_N
  let delta = 0
  let bias = INITIAL_BIAS
  let handled = basic.length
  while (handled < points.length) {
    let next = MAX_CODE_POINT
    for (const point of points) if (point >= n && point < next) next = point
    delta += (next - n) * (handled + 1)
    n = next
    for (const point of points) {
      if (point < n) delta++
      if (point !== n) continue
      out += variableLength(delta, bias)
      bias = adapt(delta, handled + 1, handled === basic.length)
      delta = 0
      handled++
    }
    delta++
    n++
  }
  return out
}

/** Decodes what follows `xn--` (RFC 3492 §6.2); undefined when it is not Punycode. */
export function decodePunycode(encoded: string): string | undefined {
  if (!ASCII.test(encoded)) return undefined
  const delimiter = encoded.lastIndexOf('-')
  const points = Array.from(encoded.slice(0, Math.max(delimiter, 0)), (char) => char.charCodeAt(0))

  let n = INITIAL_N
  let i = 0
  let bias = INITIAL_BIAS
  for (let at = delimiter > 0 ? delimiter + 1 : 0; at < encoded.length; ) {
    const before = i
    for (let weight = 1, k = BASE; ; k += BASE) {
      const digit = digitAt(encoded, at++)
      if (digit === undefined) return undefined
      i += digit * weight
      // Each insertion moves `n` by i / length: more than this cannot end in a code point.
      if (i > MAX_CODE_POINT * (points.length + 1)) return undefined
      const t = threshold(k, bias)
      if (digit < t) break
      weight *= BASE - t
    }
    const length = points.length + 1
    bias = adapt(i - before, length, before === 0)
    n += Math.floor(i / length)
    if (n > MAX_CODE_POINT) return undefined
    i %= length
    points.splice(i++, 0, n)
  }
  return String.fromCodePoint(...points)
}

/** RFC 3492 §6.3: `delta` as a generalized variable-length integer. */
function variableLength(delta: number, bias: number): string {
  let out = ''
  let rest = delta
  for (let k = BASE; ; k += BASE) {
    const t = threshold(k, bias)
    if (rest < t) return out + DIGITS.charAt(rest)
    out += DIGITS.charAt(t + ((rest - t) % (BASE - t)))
    rest = Math.floor((rest - t) / (BASE - t))
  }
}

function digitAt(encoded: string, at: number): number | undefined {
  const digit = at < encoded.length ? DIGITS.indexOf(encoded.charAt(at).toLowerCase()) : -1
  return digit === -1 ? undefined : digit
}

function threshold(k: number, bias: number): number {
  return Math.min(Math.max(k - bias, T_MIN), T_MAX)
}

/** RFC 3492 §6.1. */
function adapt(delta: number, length: number, isFirst: boolean): number {
  let rest = Math.floor(delta / (isFirst ? DAMP : 2))
  rest += Math.floor(rest / length)
  let k = 0
  for (; rest > ((BASE - T_MIN) * T_MAX) / 2; k += BASE) rest = Math.floor(rest / (BASE - T_MIN))
  return k + Math.floor(((BASE - T_MIN + 1) * rest) / (rest + SKEW))
}
