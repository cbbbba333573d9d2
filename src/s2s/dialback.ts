/** Server Dialback (XEP-0220): keys that need no memory, and the elements on the wire. */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { type Jid, tryParseJid } from '../xmpp/jid.ts'
import type { Octets } from '../xmpp/octets.ts'
import { STANZA_ERROR_NS, StanzaError } from '../xmpp/stanza-error.ts'
import { el, escapeAttribute, escapeText, serialise } from '../xmpp/xml.ts'
import type { Frame } from '../xmpp/xml-parser.ts'
import { SERVER_NS } from './protocol.ts'

/** Who wants to send, to whom, and the id that the receiver gave the stream. */
export type KeySubject = {
  readonly originating: string
  readonly receiving: string
  readonly streamId: string
}

/** XEP-0185: whoever knows the secret can tell a key of ours, on any node and at any time. */
export class DialbackKeys {
  readonly #secret: string

  constructor(secret: string) {
    this.#secret = createHash('sha256').update(secret).digest('hex')
  }

  keyFor({ originating, receiving, streamId }: KeySubject): string {
    return createHmac('sha256', this.#secret)
      .update(`${receiving} ${originating} ${streamId}`)
      .digest('hex')
  }

  isValid(key: string, subject: KeySubject): boolean {
    const expected = Buffer.from(this.keyFor(subject))
    const given = Buffer.from(key.trim())
    return given.length === expected.length && timingSafeEqual(given, expected)
  }
}

export type DialbackName = 'result' | 'verify'
export type DialbackType = 'valid' | 'invalid' | 'error'

/** An element of dialback, as far as it says what it must. */
export type DialbackElement = {
  readonly name: DialbackName
  readonly from: string
  readonly to: string
  /** Of `verify`. */
  readonly id: string | undefined
  /** Of answers. */
  readonly type: string | undefined
  /** Of questions. */
  readonly key: string
  readonly error: StanzaError | undefined
}

/** `undefined` for what has no two domains. */
export function readDialback(frame: Frame): DialbackElement | undefined {
  const from = domainOf(frame.attribute('from'))
  const to = domainOf(frame.attribute('to'))
  if (from === undefined || to === undefined) return undefined
  if (frame.name !== 'result' && frame.name !== 'verify') return undefined
  const type = frame.attribute('type')
  const element = frame.toElement()
  const error =
    type === 'error' ? StanzaError.fromElement(element.child('error', SERVER_NS)) : undefined
  return {
    name: frame.name,
    from,
    to,
    id: frame.attribute('id'),
    type,
    key: element.text.trim(),
    error,
  }
}

function domainOf(text: string | undefined): string | undefined {
  const parsed: Jid | undefined = text === undefined ? undefined : tryParseJid(text)
  return parsed?.isDomain === true ? parsed.domain : undefined
}

type Question = {
  readonly from: string
  readonly to: string
  /** Of `verify`. */
  readonly id?: string
  readonly key: string
}

/** The prefix is not ours to choose (XEP-0220 §2). */
export function dialbackQuestion(name: DialbackName, { key, ...names }: Question): Octets {
  return `<db:${name}${attributes(names)}>${escapeText(key)}</db:${name}>` as Octets
}

type Answer = {
  readonly from: string
  readonly to: string
  readonly id?: string | undefined
  readonly type: DialbackType
}

export function dialbackAnswer(name: DialbackName, answer: Answer): Octets {
  return `<db:${name}${attributes(answer)}/>` as Octets
}

/** As the authoritative server: whether a key that another one got is ours (XEP-0220 §2.2.2). */
export function answerVerify({ from, to, id, key }: DialbackElement, keys: DialbackKeys): Octets {
  const subject = { originating: to, receiving: from, streamId: id ?? '' }
  const type = id !== undefined && keys.isValid(key, subject) ? 'valid' : 'invalid'
  return dialbackAnswer('verify', { from: to, to: from, id, type })
}

/** XEP-0220 §2.4: not valid, for a reason that has nothing to do with the key. */
export function dialbackError(
  name: DialbackName,
  { from, to, id }: Omit<Answer, 'type'>,
  error: StanzaError,
): Octets {
  const condition = el(error.condition, { xmlns: STANZA_ERROR_NS })
  const text = error.text !== undefined && el('text', { xmlns: STANZA_ERROR_NS }, error.text)
  const inner = serialise(el('error', { type: error.type }, condition, text), SERVER_NS)
  return `<db:${name}${attributes({ from, to, id, type: 'error' })}>${inner}</db:${name}>` as Octets
}

function attributes(values: Readonly<Record<string, string | undefined>>): string {
  let written = ''
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined) written += ` ${name}='${escapeAttribute(value)}'`
  }
  return written
}
