import { z } from 'zod'
import { domain } from '../../core/config-types.ts'
import type { Envelope } from '../../core/envelope.ts'
import { type Element, el } from '../../xmpp/xml.ts'

export const DELEGATION_NS = 'urn:xmpp:delegation:2'

/** What stands for requests that no namespace names (XEP-0355 §7.2). */
export const ALL_INFO = `${DELEGATION_NS}:bare:disco#info:*`
export const ALL_ITEMS = `${DELEGATION_NS}:bare:disco#items:*`

export const delegation = z.strictObject({
  namespace: z
    .string()
    .min(1)
    .refine((name) => name !== DELEGATION_NS, 'a namespace that may be delegated')
    .describe('Of the payloads of requests to the server and to accounts.'),
  component: domain().describe('The component that answers them.'),
  attributes: z
    .array(z.string().min(1))
    .default([])
    .describe('Only payloads with all of these attributes.'),
})

export type Delegation = z.output<typeof delegation>

/** Which requests go to which component; of several that fit the first one decides. */
export class Delegations {
  readonly all: readonly Delegation[]

  constructor(all: readonly Delegation[]) {
    this.all = all
  }

  of(payload: Element): Delegation | undefined {
    return this.all.find(
      ({ namespace, attributes }) =>
        namespace === payload.ns && attributes.every((name) => payload.attr(name) !== undefined),
    )
  }

  named(namespace: string): Delegation | undefined {
    return this.all.find((candidate) => candidate.namespace === namespace)
  }

  /** Those of a component, but for what stands for several namespaces. */
  to(component: string): readonly Delegation[] {
    return this.all.filter((candidate) => candidate.component === component)
  }

  /** Namespaces of which the server itself says nothing. */
  get namespaces(): readonly string[] {
    return this.all.map(({ namespace }) => namespace).filter((name) => !isSpecial(name))
  }
}

export function isSpecial(namespace: string): boolean {
  return namespace === ALL_INFO || namespace === ALL_ITEMS
}

/** XEP-0355 §4.2: what a component is told that it is to answer. */
export function advertisement(delegations: readonly Delegation[]): Element {
  return el(
    'delegation',
    { xmlns: DELEGATION_NS },
    ...delegations.map(({ namespace, attributes }) =>
      el('delegated', { namespace }, ...attributes.map((name) => el('attribute', { name }))),
    ),
  )
}

/** The component answers the requests of others, not its own (XEP-0355 §4.3.1). */
export function isFrom({ origin }: Envelope, { component }: Delegation): boolean {
  return origin.kind === 'component' && origin.domain === component
}
