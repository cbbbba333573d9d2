/** What we use of `@xmpp/client`, which brings no types. */
declare module '@xmpp/client' {
  export interface XmppElement {
    readonly name: string
    readonly attrs: Readonly<Record<string, string | undefined>>
    is(name: string, ns?: string): boolean
    getChild(name: string, ns?: string): XmppElement | undefined
    getChildren(name: string, ns?: string): XmppElement[]
    getChildText(name: string, ns?: string): string | null
    text(): string
    toString(): string
  }

  type Attributes = Readonly<Record<string, string | undefined>>

  export function xml(
    name: string,
    attributes?: Attributes,
    ...children: (XmppElement | string)[]
  ): XmppElement

  export interface Credentials {
    readonly username: string
    readonly password: string
  }

  export interface XmppClient {
    readonly status: string
    readonly reconnect: { stop(): void; reconnect(): Promise<void> }
    readonly streamManagement: {
      on(event: 'resumed', listener: () => void): void
      off(event: 'resumed', listener: () => void): void
    }
    readonly iqCaller: {
      request(iq: XmppElement): Promise<XmppElement>
      get(payload: XmppElement, to?: string): Promise<XmppElement | undefined>
      set(payload: XmppElement, to?: string): Promise<XmppElement | undefined>
    }
    readonly socket: { end(): void } | null
    on(event: 'stanza', listener: (stanza: XmppElement) => void): void
    on(event: 'error', listener: (error: Error) => void): void
    once(event: 'disconnect', listener: () => void): void
    once(event: 'online', listener: (jid: { toString(): string }) => void): void
    start(): Promise<{ toString(): string }>
    stop(): Promise<unknown>
    send(element: XmppElement): Promise<void>
  }

  export function client(options: {
    readonly service: string
    readonly domain: string
    readonly resource?: string
    /** For an answer, milliseconds. */
    readonly timeout?: number
    readonly credentials:
      | Credentials
      | ((
          authenticate: (credentials: Credentials, mechanism: string) => Promise<void>,
          mechanisms: readonly string[],
        ) => Promise<void>)
  }): XmppClient
}
