/** The commands of XEP-0133 about who communicates with the service (§4.11, §4.12), and its end (§4.30, §4.31). */
import type { AdhocStage } from '../../core/adhoc.ts'
import type { Field } from '../../xmpp/data-form.ts'
import type { Giver } from './offer.ts'
import { asks, DONE, nodeOf, type Offered, read } from './service-form.ts'

/** A form with all of a list; what it comes back with takes its place. */
export function listCommand(giver: Giver, list: 'blacklist' | 'whitelist', title: string): Offered {
  const addresses = async () =>
    ((await giver(`${list} list`, {})) as { readonly addresses: readonly string[] }).addresses
  const name = `${list}jids`
  return {
    node: nodeOf(`edit-${list}`),
    name: `Edit ${title}`,
    begin: async (): Promise<AdhocStage> => {
      const value = await addresses()
      const field: Field = { var: name, type: 'jid-multi', label: `The ${list}`, value }
      return asks(`Editing the ${title}`, [field], async (given) => {
        const wanted = new Set((read(() => given.jids(name)) ?? []).map(({ full }) => full))
        const before = await addresses()
        for (const address of wanted) {
          if (!before.includes(address)) await giver(`${list} add`, { address })
        }
        for (const address of before) {
          if (!wanted.has(address)) await giver(`${list} remove`, { address })
        }
        return DONE
      })()
    },
  }
}

const DELAYS = {
  '30': '30 seconds',
  '60': '60 seconds',
  '90': '90 seconds',
  '120': '2 minutes',
  '180': '3 minutes',
  '240': '4 minutes',
  '300': '5 minutes',
} as const
const SECONDS = Object.keys(DELAYS) as (keyof typeof DELAYS)[]

export function endCommand(giver: Giver, command: 'restart' | 'shutdown'): Offered {
  const [name, title, verb] =
    command === 'restart'
      ? ['Restart Service', 'Restarting the Service', 'restarting']
      : ['Shut Down Service', 'Shutting Down the Service', 'shutting down']
  const fields: Field[] = [
    {
      var: 'delay',
      type: 'list-single',
      label: `Time delay before ${verb}`,
      value: '30',
      options: Object.entries(DELAYS).map(([value, label]) => ({ value, label })),
    },
    { var: 'announcement', type: 'text-multi', label: 'Announcement' },
  ]
  return {
    node: nodeOf(command),
    name,
    begin: asks(title, fields, async (given) => {
      const seconds = read(() => given.choice('delay', SECONDS)) ?? '30'
      const announcement = read(() => given.lines('announcement')) || undefined
      await giver(command, { delay: `${seconds}s`, ...(announcement && { announcement }) })
      return DONE
    }),
  }
}
