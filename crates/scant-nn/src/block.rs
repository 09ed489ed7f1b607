//! Layers that several networks share.

mod conv;
mod double_conv;
mod encoder;
mod gate;
mod up_conv;

pub use conv::Conv;
pub use double_conv::DoubleConv;
pub use encoder::Encoder;
pub use gate::AttentionGate;
pub use up_conv::UpConv;
