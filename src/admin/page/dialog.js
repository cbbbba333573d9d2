import { el, NO_PROSE } from './dom.js'

/**
 * A question in front of everything else; the browser keeps the focus in it and gives it back.
 * `act` does what was asked for, with what was filled in; what it throws is shown, and may be mended.
 *
 * @param {{
 *   title: string, text?: string, button: string, isDangerous?: boolean,
 *   fields?: { name: string, label: string, type?: string, autocomplete?: string, value?: string, pattern?: string }[],
 *   act(values: Record<string, string>): Promise<void>,
 * }} options
 */
export function askFor({ title, text, button, isDangerous = false, fields = [], act }) {
  const problem = el('p.problem', { role: 'alert' })
  const inputs = fields.map(({ label, type = 'text', ...rest }) =>
    el('label', {}, label, el('input', { type, required: true, ...NO_PROSE, ...rest })),
  )
  const close = () => dialog.close()
  const go = el(isDangerous ? 'button.danger.solid' : 'button.solid', { type: 'submit' }, button)
  const submit = async (event) => {
    event.preventDefault()
    const values = Object.fromEntries(new FormData(form))
    go.disabled = true
    problem.textContent = ''
    try {
      await act(values)
      close()
    } catch (error) {
      problem.textContent = error.message
      go.disabled = false
      ;(form.querySelector('input') ?? go).focus()
    }
  }
  const form = el(
    'form',
    { onsubmit: submit },
    el('h2', { id: 'dialog-title' }, title),
    text === undefined ? undefined : el('p', {}, text),
    ...inputs,
    problem,
    el(
      'div.buttons',
      {},
      // First, so that what is dangerous is not what Enter does.
      el('button', { type: 'button', onclick: close, autofocus: isDangerous }, 'Cancel'),
      go,
    ),
  )
  const dialog = el(
    'dialog',
    { 'aria-labelledby': 'dialog-title', onclose: () => dialog.remove() },
    form,
  )
  document.body.append(dialog)
  dialog.showModal()
}
