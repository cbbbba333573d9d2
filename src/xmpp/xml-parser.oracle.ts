import { SaxesParser } from 'saxes'

/** An element in a form that only its meaning decides. */
export interface Canonical {
  /** `{namespace}local` */
  name: string
  /** `{namespace}local=value`, sorted. */
  attributes: string[]
  children: (Canonical | string)[]
}

export interface Verdict {
  readonly isAccepted: boolean
  readonly reason: string
  readonly root: Canonical | undefined
  /** White space around a namespace, which saxes cuts off and Namespaces in XML does not: no verdict. */
  readonly isMoot: boolean
}

const NOT_IN_STREAMS = 'well-formed, but nothing that a stream may have'

/** Namespaces in XML 1.0, production 5: how an NCName starts. */
const NAME_START =
  /^[A-Z_a-z\u{c0}-\u{d6}\u{d8}-\u{f6}\u{f8}-\u{2ff}\u{370}-\u{37d}\u{37f}-\u{1fff}\u{200c}-\u{200d}\u{2070}-\u{218f}\u{2c00}-\u{2fef}\u{3001}-\u{d7ff}\u{f900}-\u{fdcf}\u{fdf0}-\u{fffd}\u{10000}-\u{effff}]/u

/**
 * The independent opinion on a stream: `saxes`, with the rules of RFC 6120 on top. It looks no
 * further than the end of the root element.
 */
export function judge(bytes: Uint8Array): Verdict {
  const whole = decoded(bytes)
  if (whole !== undefined) return judgeText(whole)
  // Behind the root element there may be anything: take what can be decoded, up to a tag's end.
  for (
    let end = bytes.lastIndexOf(0x3e);
    end !== -1;
    end = bytes.subarray(0, end).lastIndexOf(0x3e)
  ) {
    const text = decoded(bytes.subarray(0, end + 1))
    if (text !== undefined) return judgeText(text)
  }
  return { isAccepted: false, reason: 'not UTF-8', root: undefined, isMoot: false }
}

function decoded(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

function judgeText(text: string): Verdict {
  const parser = new SaxesParser({ xmlns: true })
  const open: Canonical[] = []
  let root: Canonical | undefined
  /** Where the root element ended. An end tag too many is reported there, after the event. */
  let end = Number.POSITIVE_INFINITY
  let reason = ''
  let isMoot = false
  const refuse = (why: string) => {
    if (reason === '' && parser.position <= end) reason = why
  }
  const addText = (data: string) => {
    if (data === '') return
    if (open.length === 1 && /[^ \t\r\n]/.test(data)) refuse(NOT_IN_STREAMS)
    const siblings = open.at(-1)?.children
    if (siblings === undefined) return
    if (typeof siblings.at(-1) === 'string') siblings[siblings.length - 1] += data
    else siblings.push(data)
  }
  parser.on('error', (error) => refuse(error.message))
  parser.on('comment', () => refuse(NOT_IN_STREAMS))
  parser.on('processinginstruction', () => refuse(NOT_IN_STREAMS))
  parser.on('doctype', () => refuse(NOT_IN_STREAMS))
  parser.on('xmldecl', ({ version, encoding }) => {
    if (version !== '1.0' || (encoding ?? 'utf-8').toLowerCase() !== 'utf-8') refuse(NOT_IN_STREAMS)
  })
  parser.on('attribute', ({ name, prefix, value }) => {
    const isDeclaration = name === 'xmlns' || prefix === 'xmlns'
    if (isDeclaration && parser.position <= end && value !== value.trim()) isMoot = true
  })
  parser.on('text', addText)
  parser.on('cdata', (data) => {
    if (open.length === 1) refuse(NOT_IN_STREAMS)
    addText(data)
  })
  parser.on('opentag', (tag) => {
    if (parser.position > end) return
    const { uri, local } = tag
    for (const name of [local, ...Object.values(tag.attributes).map((each) => each.local)]) {
      // saxes has the rules for names at heart, but not those for what stands behind a colon.
      if (!NAME_START.test(name)) refuse('a local name that is no NCName')
    }
    const attributes = Object.values(tag.attributes)
      .filter((attribute) => attribute.name !== 'xmlns' && attribute.prefix !== 'xmlns')
      .map((attribute) => `{${attribute.uri}}${attribute.local}=${attribute.value}`)
      .sort()
    const element: Canonical = { name: `{${uri}}${local}`, attributes, children: [] }
    if (root === undefined) root = element
    else open.at(-1)?.children.push(element)
    open.push(element)
  })
  parser.on('closetag', () => {
    open.pop()
    if (open.length === 0) end = Math.min(end, parser.position)
  })
  parser.write(text).close()
  const isClosed = end !== Number.POSITIVE_INFINITY
  const isAccepted = reason === '' && isClosed
  return { isAccepted, reason: isClosed || reason !== '' ? reason : 'not complete', root, isMoot }
}
