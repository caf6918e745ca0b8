// SPDX-License-Identifier: Apache-2.0
/* Replies of destinations are hostile: any of them has one class, and a note made of it is
 * read back as it was. Input: two bytes of code, a byte of the enhanced code's length. */
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "queue/legs_forward.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct forward_note n, again;
	char note[LEGS_NOTE_MAX], text[LEGS_NOTE_MAX];
	size_t len;

	if (size < 3)
		return 0;
	len = data[2] < size - 3 ? data[2] : size - 3;
	const struct reply r = { (uint16_t)((data[0] << 8 | data[1]) % 1000),
		slice_make((const char *)data + 3, len),
		slice_make((const char *)data + 3 + len, size - 3 - len), SLICE_NONE };
	struct reply_verdict v = reply_classify(&r);
	CHECK(v.class < REPLY_CLASS_MAX && v.closed == (r.code >= 500));
	CHECK((v.class == REPLY_OK) == (r.code / 100 == 2));

	len = size - 3 < sizeof(note) - 1 ? size - 3 : sizeof(note) - 1;
	memcpy(note, data + 3, len);
	note[len] = '\0';
	forward_note_read(note, &n);
	forward_note_print(&n, text);
	forward_note_read(text, &again);
	CHECK(strcmp(n.token, again.token) == 0 && n.refused == again.refused &&
	    n.changed == again.changed);
	return 0;
}
