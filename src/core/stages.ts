/**
 * A stage of the route, with what a live picture of it needs. `stanzas` counts always; times are
 * those of stanzas that somebody follows, for whoever follows none reads no clock.
 */
export class Stage {
  readonly name: string
  stanzas = 0
  /** How many of them were timed. */
  timed = 0
  /** What those took, together with all that came behind this stage; milliseconds. */
  milliseconds = 0

  constructor(name: string) {
    this.name = name
  }
}

/** The stages of one server, in the order in which a message from client to client passes them. */
export class Stages {
  readonly c2sIn = new Stage('c2s_in')
  readonly router = new Stage('router')
  readonly localDelivery = new Stage('local_delivery')
  readonly sessionManager = new Stage('session_manager')
  readonly iq = new Stage('iq')
  readonly c2sOut = new Stage('c2s_out')
  readonly #modules = new Map<string, Stage>()

  /** That of a routing module: what was offered to it. */
  module(name: string): Stage {
    let stage = this.#modules.get(name)
    if (stage === undefined) {
      stage = new Stage(name)
      this.#modules.set(name, stage)
    }
    return stage
  }

  get all(): readonly Stage[] {
    const { c2sIn, router, localDelivery, sessionManager, iq, c2sOut } = this
    const modules = this.#modules.values()
    return [c2sIn, router, ...modules, localDelivery, sessionManager, iq, c2sOut]
  }
}
