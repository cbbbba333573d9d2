import type { Config, HttpListener as Settings } from '../config.ts'
import type { HttpListener } from '../http/server.ts'
import type { Server } from '../server.ts'
import type { Step } from './step.ts'

type Open = { readonly settings: Settings; readonly listener: HttpListener }

/** Where HTTP is spoken. Addresses come and go; what is said at one stays until a restart. */
export class HttpPart {
  readonly #server: Server
  #open: readonly Open[] = []

  constructor(server: Server) {
    this.#server = server
  }

  /** In the order of the configuration. */
  get listeners(): readonly HttpListener[] {
    return this.#open.map(({ listener }) => listener)
  }

  async start({ listen }: Config): Promise<void> {
    for (const settings of listen.http) {
      const listener = await this.#make(settings)
      this.#open = [...this.#open, { settings, listener }]
      await listener.listen()
    }
  }

  /** New ones answer from here on. */
  async prepare({ listen }: Config): Promise<Step> {
    const before = this.#open
    const left = [...before]
    const after: Open[] = []
    const added: Open[] = []
    const abandon = async () => {
      for (const { listener } of added) await listener.close()
    }
    try {
      for (const settings of listen.http) {
        const same = left.findIndex((open) => isAt(open.settings, settings))
        const [open] = same < 0 ? [] : left.splice(same, 1)
        if (open !== undefined) {
          after.push(open)
          continue
        }
        const made = { settings, listener: await this.#make(settings) }
        after.push(made)
        added.push(made)
        await made.listener.listen()
      }
    } catch (error) {
      await abandon()
      throw error
    }
    return {
      abandon,
      commit: () => {
        this.#open = after
      },
      revert: () => {
        this.#open = before
      },
      finish: async () => {
        // Not waited for: who asked for this may be one of those that are being answered.
        for (const { listener } of left) void listener.close()
      },
    }
  }

  /** Who has none configured need not load all that it takes. */
  async #make(settings: Settings): Promise<HttpListener> {
    const { httpListener } = await import('../server-http.ts')
    return httpListener(settings, this.#server)
  }
}

function isAt(a: Settings, b: Settings): boolean {
  return a.address === b.address && a.port === b.port
}
