#include "h1/message.h"

long mc_h1_scan_head(mc_h1_parser *parser, mc_h1_message *message, mc_slice in) {
    (void)parser;
    (void)message;
    (void)in;
    return 0;
}
