import { BEHIND } from '../../src/core/written-behind.ts'
import type { Setting } from '../targets/target.ts'
import { REQUEST, WireClient } from './wire-client.ts'

/** What is done over and over, one after the other, and cost is counted for. */
export interface Act {
  readonly name: string
  readonly setting: Setting
  /** Messages or logins, which share what it costs. */
  readonly units: number
  /** How often it is done: until it is warm, and in each batch that is measured. */
  readonly warmUp: number
  readonly batch: number
  /** Milliseconds after which the server has done what it leaves for later, which counts as well. */
  readonly settles?: number
  /** Resolves with what does it once, on a server at that port. */
  begin(port: number): Promise<() => Promise<void>>
}

const BODY = 'x'.repeat(100)

/** Two accounts; the acts are done by one after the other, so they may share them. */
export const ACCOUNTS = ['user0', 'user1'] as const

/**
 * One client sends `window` messages in one piece to another. It sends the next when all of them are
 * with the recipient, with stream management when the server and the recipient have acknowledged
 * them as well. So the server has one thing to do at a time, whatever the machine has to do.
 */
function pair(name: string, setting: Setting, window: number): Act {
  const isTypical = setting.variant !== 'bare'
  return {
    name,
    setting,
    units: window,
    ...(window === 1 ? { warmUp: 300, batch: 120 } : { warmUp: 100, batch: 50 }),
    async begin(port) {
      const [sender, recipient] = await Promise.all(
        ACCOUNTS.map((account) => WireClient.logIn(port, account, isTypical)),
      )
      if (!sender || !recipient) throw new Error('two accounts are needed')
      let count = 0
      const message = () =>
        `<message type='chat' to='${ACCOUNTS[1]}@localhost/r' id='g${count++}'><body>${BODY}</body></message>`
      return async () => {
        const messages = Array.from({ length: window }, message).join('')
        sender.write(isTypical ? messages + REQUEST : messages)
        await recipient.expect('</message>', window)
        if (!isTypical) return
        await recipient.acknowledge()
        await sender.acknowledged()
      }
    },
  }
}

/** Comes, is available, and goes. */
const login: Act = {
  name: 'login',
  setting: { variant: 'bare' },
  units: 1,
  warmUp: 60,
  batch: 40,
  // How an account was last seen is written within a second.
  settles: BEHIND + 200,
  async begin(port) {
    return async () => {
      const client = await WireClient.logIn(port, ACCOUNTS[0], false)
      await client.close()
    }
  },
}

export const ACTS: readonly Act[] = [
  pair('pairs-w1', { variant: 'bare' }, 1),
  pair('pairs-w10', { variant: 'bare' }, 10),
  pair('typical-w1', { variant: 'typical' }, 1),
  pair('archive-w1', { variant: 'archive' }, 1),
  pair('archive-w10', { variant: 'archive' }, 10),
  login,
]
