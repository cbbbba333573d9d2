/** The commands of XEP-0133 about what the server tells its users (§4.23 to §4.28). */
import type { AdhocStage } from '../../core/adhoc.ts'
import type { Field } from '../../xmpp/data-form.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import type { Giver } from './offer.ts'
import { asks, DONE, linesIn, nodeOf, type Offered } from './service-form.ts'

type Shown = { readonly messages: readonly { readonly body: string }[] }

export function messageCommands(giver: Giver, domain: string): readonly Offered[] {
  /** A form with a text, which is the one that is there if it is to be changed. */
  const texts = (
    { node, name, title }: { readonly node: string; readonly name: string; readonly title: string },
    field: Field & { readonly var: string },
    command: string,
    show?: string,
  ): Offered => ({
    node: nodeOf(node),
    name,
    begin: async (): Promise<AdhocStage> => {
      const shown = show === undefined ? undefined : ((await giver(show, { domain })) as Shown)
      const value = shown?.messages[0]?.body
      const filled: Field = { ...field, type: 'text-multi', required: true, value }
      return asks(title, [filled], async (given) => {
        const done = await giver(command, { domain, body: linesIn(given, field.var) })
        const { sent } = done as { readonly sent?: number }
        if (sent === undefined) return DONE
        return { payload: [], notes: [{ type: 'info', text: `sent to ${sent}` }] }
      })()
    },
  })
  const removes = (node: string, name: string, command: string): Offered => ({
    node: nodeOf(node),
    name,
    begin: async () => {
      try {
        await giver(command, { domain })
        return DONE
      } catch (error) {
        // What is wanted is so already.
        if (!(error instanceof StanzaError) || error.condition !== 'item-not-found') throw error
        return { payload: [], notes: [{ type: 'info', text: 'there was none' }] }
      }
    },
  })
  const announcement = { var: 'announcement', label: 'Announcement' }
  const motd = { var: 'motd', label: 'Message of the Day' }
  const welcome = { var: 'welcome', label: 'Welcome Message' }
  return [
    texts(
      {
        node: 'announce',
        name: 'Send Announcement to Online Users',
        title: 'Making an Announcement',
      },
      announcement,
      'message announce',
    ),
    texts(
      {
        node: 'set-motd',
        name: 'Set Message of the Day',
        title: 'Setting the Message of the Day',
      },
      motd,
      'motd set',
    ),
    texts(
      {
        node: 'edit-motd',
        name: 'Edit Message of the Day',
        title: 'Editing the Message of the Day',
      },
      motd,
      'motd edit',
      'motd show',
    ),
    removes('delete-motd', 'Delete Message of the Day', 'motd delete'),
    texts(
      {
        node: 'set-welcome',
        name: 'Set Welcome Message',
        title: 'Setting Welcome Message',
      },
      welcome,
      'welcome set',
      'welcome show',
    ),
    removes('delete-welcome', 'Delete Welcome Message', 'welcome delete'),
  ]
}
