import type { Octets } from './octets.ts'
import { type Element, el, serialise } from './xml.ts'

export const STREAMS_NS = 'http://etherx.jabber.org/streams'
const ERROR_NS = 'urn:ietf:params:xml:ns:xmpp-streams'

/** RFC 6120 §4.9.3. */
export type StreamCondition =
  | 'bad-format'
  | 'bad-namespace-prefix'
  | 'conflict'
  | 'connection-timeout'
  | 'host-gone'
  | 'host-unknown'
  | 'improper-addressing'
  | 'internal-server-error'
  | 'invalid-from'
  | 'invalid-namespace'
  | 'invalid-xml'
  | 'not-authorized'
  | 'not-well-formed'
  | 'policy-violation'
  | 'remote-connection-failed'
  | 'reset'
  | 'resource-constraint'
  | 'restricted-xml'
  | 'see-other-host'
  | 'system-shutdown'
  | 'undefined-condition'
  | 'unsupported-encoding'
  | 'unsupported-feature'
  | 'unsupported-stanza-type'
  | 'unsupported-version'

type StreamErrorOptions = ErrorOptions & {
  /** Application-specific condition (RFC 6120 §4.9.4). */
  readonly detail?: Element
}

/** Unrecoverable for its stream: answered as `<stream:error/>`, then the stream is closed (RFC 6120 §4.9). */
export class StreamError extends Error {
  override readonly name = 'StreamError'
  readonly condition: StreamCondition
  /** Text for the peer; absent when there is nothing to add to the condition. */
  readonly text: string | undefined
  readonly detail: Element | undefined

  constructor(condition: StreamCondition, text?: string, options: StreamErrorOptions = {}) {
    super(text === undefined ? condition : `${condition}: ${text}`, options)
    this.condition = condition
    this.text = text
    this.detail = options.detail
  }

  /** With the prefix `stream`, which every stream header of ours declares. */
  toOctets(): Octets {
    const text = this.text === undefined ? [] : [el('text', { xmlns: ERROR_NS }, this.text)]
    const condition = el(this.condition, { xmlns: ERROR_NS })
    const detail = this.detail === undefined ? [] : [this.detail]
    const body = [condition, ...text, ...detail].map((child) => serialise(child)).join('')
    return `<stream:error>${body}</stream:error>` as Octets
  }
}

/** Whether the peer says what ends its stream. That is not answered by an error (RFC 6120 §4.9.1.1). */
export function isStreamError({
  ns,
  name,
}: {
  readonly ns: string
  readonly name: string
}): boolean {
  return ns === STREAMS_NS && name === 'error'
}
