#include "cluster/note.h"

#include "base/log.h"

void note_log(const struct gossip_note *note)
{
    static const char *const texts[] = {
        [GOSSIP_NOTE_UP] = "member is up",
        [GOSSIP_NOTE_SUSPECT] = "member is suspected",
        [GOSSIP_NOTE_DOWN] = "member is down",
        [GOSSIP_NOTE_LEFT] = "member left",
        [GOSSIP_NOTE_READY] = "cluster view is complete",
        [GOSSIP_NOTE_REFUTED] = "this node was suspected, and refuted it",
        [GOSSIP_NOTE_NEW_BOOT] = "this node's boot number was behind; took a later one",
        [GOSSIP_NOTE_UDP_BLOCKED] =
            "no answer over UDP but over TCP: is a firewall or policy in the way?",
        [GOSSIP_NOTE_UDP_OPEN] = "UDP is answered again",
        [GOSSIP_NOTE_NEW_ID] = "another live node has this node's id; took a new one",
    };
    char id[GOSSIP_ID_TEXT_BYTES], addr[GOSSIP_ADDR_TEXT_BYTES];
    (void)gossip_id_format(note->id, id);
    (void)gossip_addr_format(&note->addr, addr);
    if (note->kind == GOSSIP_NOTE_UDP_BLOCKED) {
        log_warn(texts[note->kind], LOG_STR("id", id));
    } else if (!note->addr.family) { /* about ourselves */
        log_info(texts[note->kind], LOG_STR("id", id));
    } else if (note->kind == GOSSIP_NOTE_SUSPECT) {
        log_debug(texts[note->kind], LOG_STR("id", id), LOG_STR("addr", addr));
    } else {
        log_info(texts[note->kind], LOG_STR("id", id), LOG_STR("addr", addr));
    }
}
