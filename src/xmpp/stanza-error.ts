import { type Element, el } from './xml.ts'

export const STANZA_ERROR_NS = 'urn:ietf:params:xml:ns:xmpp-stanzas'

/** RFC 6120 §8.3.2. */
export type ErrorType = 'auth' | 'cancel' | 'continue' | 'modify' | 'wait'

/** RFC 6120 §8.3.3: each condition with the type associated with it there. */
const defaultType = {
  'bad-request': 'modify',
  conflict: 'cancel',
  'feature-not-implemented': 'cancel',
  forbidden: 'auth',
  gone: 'cancel',
  'internal-server-error': 'cancel',
  'item-not-found': 'cancel',
  'jid-malformed': 'modify',
  'not-acceptable': 'modify',
  'not-allowed': 'cancel',
  'not-authorized': 'auth',
  'policy-violation': 'modify',
  'recipient-unavailable': 'wait',
  redirect: 'modify',
  'registration-required': 'auth',
  'remote-server-not-found': 'cancel',
  'remote-server-timeout': 'wait',
  'resource-constraint': 'wait',
  'service-unavailable': 'cancel',
  'subscription-required': 'auth',
  'undefined-condition': 'cancel',
  'unexpected-request': 'wait',
} as const satisfies Record<string, ErrorType>

export type StanzaCondition = keyof typeof defaultType

export function isStanzaCondition(name: string): name is StanzaCondition {
  return Object.hasOwn(defaultType, name)
}

const ERROR_TYPES: ReadonlySet<string> = new Set<ErrorType>([
  'auth',
  'cancel',
  'continue',
  'modify',
  'wait',
])

type StanzaErrorOptions = ErrorOptions & {
  /** Human-readable, sent along. */
  readonly text?: string
  /** Other than the condition's usual type. */
  readonly type?: ErrorType
  /** Application-specific condition (RFC 6120 §8.3.4). */
  readonly detail?: Element
}

/**
 * Answered to the sender as `<error/>` (RFC 6120 §8.3). Anything else thrown is our bug: logged
 * once, answered as `internal-server-error`, its text kept to ourselves.
 */
export class StanzaError extends Error {
  override readonly name = 'StanzaError'
  readonly condition: StanzaCondition
  readonly type: ErrorType
  readonly text: string | undefined
  readonly detail: Element | undefined

  constructor(condition: StanzaCondition, options: StanzaErrorOptions = {}) {
    super(options.text ?? condition, options)
    this.condition = condition
    this.type = options.type ?? defaultType[condition]
    this.text = options.text
    this.detail = options.detail
  }

  /**
   * The error that somebody answered, from its `<error/>`. What is no condition of RFC 6120 is an
   * `undefined-condition` (§8.3.3.21).
   */
  static fromElement(error: Element | undefined): StanzaError {
    const found = error
      ?.elements()
      .find(({ name, ns }) => name !== 'text' && ns === STANZA_ERROR_NS)
    const condition =
      found !== undefined && isStanzaCondition(found.name) ? found.name : 'undefined-condition'
    const type = error?.attr('type')
    const text = error?.child('text', STANZA_ERROR_NS)?.text
    return new StanzaError(condition, {
      ...(type !== undefined && ERROR_TYPES.has(type) && { type: type as ErrorType }),
      ...(text !== undefined && { text }),
    })
  }

  /** The `<error/>` child, in the content namespace. `by` names the entity that decided. */
  toElement(by?: string): Element {
    return el(
      'error',
      { xmlns: 'jabber:client', type: this.type, by },
      el(this.condition, { xmlns: STANZA_ERROR_NS }),
      this.text !== undefined &&
        el('text', { xmlns: STANZA_ERROR_NS, 'xml:lang': 'en' }, this.text),
      this.detail,
    )
  }
}
